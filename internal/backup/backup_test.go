package backup_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"breakwater/internal/backup"
	"breakwater/internal/sshsig"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
)

var began = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

func signer(t testing.TB, seed byte) ssh.Signer {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(seed), ed25519.SeedSize)))
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// chain is n manifests, a day apart and locked for ten days.
func chain(n int) []backup.Found {
	var all []backup.Found
	for i := range n {
		m := backup.Next("orders", all, i%4 == 0)
		m.Cut = began.AddDate(0, 0, i)
		m.TakenAt, m.LockedUntil = m.Cut.Add(time.Hour), m.Cut.AddDate(0, 0, 10)
		all = append(all, backup.Found{Seq: m.Seq, SHA256: fmt.Sprintf("hash of %d", m.Seq), Manifest: m})
	}
	return all
}

var errBad = fmt.Errorf("%w: a byte of it changed", backup.ErrDamaged)

func TestCheck(t *testing.T) {
	whole := func() []backup.Found { return chain(6) }
	remove := func(seqs ...int64) []backup.Found {
		return slices.DeleteFunc(whole(), func(f backup.Found) bool { return slices.Contains(seqs, f.Seq) })
	}
	for name, tc := range map[string]struct {
		all  []backup.Found
		now  time.Time
		want []string
	}{
		"whole":                  {whole(), began, nil},
		"empty":                  {nil, began, nil},
		"the oldest expired":     {remove(1, 2), began.AddDate(0, 0, 12), nil},
		"the oldest taken away":  {remove(1), began.AddDate(0, 0, 7), []string{"manifest 1 is gone, and 2 names it"}},
		"one in between is gone": {remove(3), began, []string{"manifest 3 is gone, and 4 names it"}},
		"expired, not in order":  {remove(3), began.AddDate(0, 0, 30), []string{"manifest 3 is gone, and 2 before it is still there"}},
		"the newest damaged": {func() []backup.Found { a := whole(); a[5].Damage = errBad; return a }(), began,
			[]string{"manifest 6 cannot be believed"}},
		"one in between replaced": {func() []backup.Found { a := whole(); a[2].SHA256 = "another"; return a }(), began,
			[]string{"manifest 3 has other bytes than those that 4 names"}},
		"one in between damaged": {func() []backup.Found { a := whole(); a[2].SHA256, a[2].Damage = "another", errBad; return a }(), began,
			[]string{"manifest 3 cannot be believed"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := backup.Check(tc.all, tc.now)
			if len(got) != len(tc.want) {
				t.Fatalf("Check = %v, want %q", got, tc.want)
			}
			for i, b := range got {
				if !strings.HasPrefix(b.String(), tc.want[i]) {
					t.Errorf("break %d is %q, want %q", i, b, tc.want[i])
				}
			}
		})
	}
}

// TestNextAfterDamage builds on the newest good manifest and uses no number twice.
func TestNextAfterDamage(t *testing.T) {
	all := chain(5)
	all[4].Damage = errBad
	m := backup.Next("orders", all, false)
	if m.Seq != 6 || m.Previous.Seq != 4 || m.Generation != 1 && m.Generation != 5 {
		t.Errorf("Next = %d of generation %d after %+v", m.Seq, m.Generation, m.Previous)
	}
	newest, over := backup.Newest(all)
	if newest.Seq != 4 || len(over) != 1 || over[0].Seq != 5 {
		t.Errorf("Newest = %d over %v", newest.Seq, over)
	}
}

func TestAt(t *testing.T) {
	all := chain(6)
	all[3].Damage = errBad
	for moment, want := range map[time.Time][2]int64{ // the number, and how many were stepped over
		began.AddDate(0, 0, 9):                    {6, 0},
		began.AddDate(0, 0, 4):                    {5, 0},
		began.AddDate(0, 0, 4).Add(-1):            {3, 1},
		began.AddDate(0, 0, 2):                    {3, 1},
		began.AddDate(0, 0, 1).Add(5 * time.Hour): {2, 0},
		began.Add(-1):                             {0, 0},
	} {
		f, over := backup.At(all, moment)
		got := [2]int64{0, int64(len(over))}
		if f != nil {
			got[0] = f.Seq
		}
		if got != want {
			t.Errorf("At(%s) = %v, want %v", moment, got, want)
		}
	}
}

func TestManifestIsSigned(t *testing.T) {
	good, other := signer(t, 1), signer(t, 2)
	trusted := []sshsig.Key{sshsig.Public(good)}
	data, err := backup.Sign(good, backup.ManifestNamespace, chain(1)[0].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := backup.ParseManifest(data, trusted); err != nil || m.Name() != "orders/1" {
		t.Errorf("ParseManifest = %s, %v", m.Name(), err)
	}
	foreign, err := backup.Sign(other, backup.ManifestNamespace, chain(1)[0].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := backup.Sign(good, backup.VerifiedNamespace, chain(1)[0].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string][]byte{
		"changed": []byte(strings.Replace(string(data), `"seq":1`, `"seq":2`, 1)), "cut short": data[:len(data)/2], "empty": nil,
		"signed by a stranger": foreign, "signed for something else": elsewhere,
	} {
		if _, err := backup.ParseManifest(bad, trusted); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: ParseManifest = %v, want ErrDamaged", what, err)
		}
	}
}

// A key that counts no more: what a believed manifest names is believed on, the rest is a
// stranger's, whose key is known.
func TestManifestsOfAReplacedKey(t *testing.T) {
	was := signer(t, 1)
	data, err := backup.Sign(was, backup.ManifestNamespace, chain(1)[0].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if m, key, err := backup.ParseStrangers(data); err != nil || m.Name() != "orders/1" || !key.Equal(sshsig.Public(was)) {
		t.Errorf("ParseStrangers = %s, %s, %v", m.Name(), key, err)
	}
	for what, bad := range map[string][]byte{
		"changed": []byte(strings.Replace(string(data), `"seq":1`, `"seq":2`, 1)), "cut short": data[:len(data)-20], "empty": nil,
	} {
		if m, _, err := backup.ParseStrangers(bad); err == nil {
			t.Errorf("%s: ParseStrangers = %+v", what, m)
		}
	}
	for name, tc := range map[string]struct {
		change func(all []backup.Found)
		good   []int64
	}{
		"the newest is of a new key":      {func([]backup.Found) {}, []int64{1, 2, 3, 4}},
		"all are of the old key":          {func(all []backup.Found) { all[3].Damage, all[3].Stranger = errBad, "old" }, nil},
		"one was put in another's place":  {func(all []backup.Found) { all[1].SHA256 = "other" }, []int64{3, 4}},
		"one is damaged":                  {func(all []backup.Found) { all[1].Stranger = "" }, []int64{3, 4}},
		"the newest names none before it": {func(all []backup.Found) { all[3].Manifest.Previous = nil }, []int64{4}},
	} {
		all := chain(4)
		for i := range all[:3] {
			all[i].Damage, all[i].Stranger = errBad, "old"
		}
		tc.change(all)
		slices.Reverse(all)
		backup.Vouch(all)
		var good []int64
		for _, f := range slices.Backward(all) {
			if f.Good() {
				good = append(good, f.Seq)
			}
		}
		if !slices.Equal(good, tc.good) {
			t.Errorf("%s: believed are %v, want %v", name, good, tc.good)
		}
	}
}

func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		group, seq := rapid.StringN(1, 20, -1).Draw(t, "group"), rapid.Int64Range(1, 1e11).Draw(t, "seq")
		g, n, err := backup.ParseName(backup.Name(group, seq))
		if err != nil || g != group || n != seq {
			t.Fatalf("ParseName(%q) = %q, %d, %v", backup.Name(group, seq), g, n, err)
		}
		if n, ok := backup.SeqOf(backup.ManifestKey(group, seq)); !ok || n != seq {
			t.Fatalf("SeqOf(%q) = %d, %v", backup.ManifestKey(group, seq), n, ok)
		}
	})
	for _, bad := range []string{"", "orders", "orders/", "/7", "orders/0", "orders/-1", "orders/x"} {
		if _, _, err := backup.ParseName(bad); err == nil {
			t.Errorf("ParseName(%q) took it", bad)
		}
	}
}

// TestUntil holds every backup for its retention, and those of a day to one date.
func TestBatchName(t *testing.T) {
	name := backup.BatchName("run/step", "e3b0", 0)
	if len(name) != 32 || name != backup.BatchName("run/step", "e3b0", 0) {
		t.Errorf("BatchName = %q", name)
	}
	for what, other := range map[string]string{
		"another step": backup.BatchName("run/step2", "e3b0", 0), "other objects": backup.BatchName("run/step", "e3b1", 0), "the next batch": backup.BatchName("run/step", "e3b0", 1),
	} {
		if other == name {
			t.Errorf("%s has the same name", what)
		}
	}
	// What nobody names any more expires below the prefix of all objects.
	if folder := backup.BatchFolder("orders", 7, name); folder != backup.DataPrefix("orders")+"000000000007/batch/"+name+"/" {
		t.Error(folder)
	}
	if notes := backup.BatchNotes("orders", name); strings.HasPrefix(notes, backup.DataPrefix("orders")) || !strings.HasPrefix(notes, backup.Folder("orders")) {
		t.Error(notes)
	}
}

func TestUntil(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := backup.Policy{Retention: time.Duration(rapid.Int64Range(1, 1e6).Draw(t, "minutes")) * time.Minute}
		now := began.Add(time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "seconds")) * time.Second)
		until := p.Until(now)
		if kept := until.Sub(now); kept < p.Retention || kept >= p.Retention+24*time.Hour {
			t.Fatalf("held for %s, promised %s", kept, p.Retention)
		}
		if !until.Equal(until.Truncate(24 * time.Hour)) {
			t.Fatalf("held until %s, which is within a day", until)
		}
	})
}

func TestDue(t *testing.T) {
	all := chain(6) // 1 and 5 are full
	p := backup.Policy{FullEvery: 3 * 24 * time.Hour}
	fifth := all[4].Manifest.TakenAt
	damaged := slices.Clone(all)
	damaged[4].Damage = errBad
	for name, tc := range map[string]struct {
		p    backup.Policy
		all  []backup.Found
		now  time.Time
		want bool
	}{
		"first":               {p, nil, began, true},
		"young":               {p, all, fifth.Add(71 * time.Hour), false},
		"old":                 {p, all, fifth.Add(72 * time.Hour), true},
		"never again":         {backup.Policy{}, all, fifth.AddDate(1, 0, 0), false},
		"beginning is broken": {p, damaged, fifth, true},
	} {
		if got := tc.p.Due(tc.all, tc.now); got != tc.want {
			t.Errorf("%s: Due = %v", name, got)
		}
	}
}

// TestSplit covers every need once, keeps only what is equal, and copies in an
// order in which nobody sees a log before its data (trap 3).
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a.parquet", "deletion_vector_b.bin", "_delta_log/00000000000000000004.checkpoint.parquet",
			"_delta_log/_sidecars/x.parquet", "_delta_log/00000000000000000004.json", "_delta_log/00000000000000000005.json", "_delta_log/_last_checkpoint"}
		var needs []backup.Need
		var previous []backup.Object
		for _, n := range rapid.Permutation(names).Draw(t, "needs") {
			need := backup.Need{Key: n, Role: port.Format{}.Entry(n).Role, Size: 1, ETag: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "etag")}
			needs = append(needs, need)
			if rapid.Bool().Draw(t, "held") {
				previous = append(previous, backup.Object{Key: n, ETag: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "its"), Copy: backup.Stored{Size: rapid.Int64Range(1, 2).Draw(t, "size")}})
			}
		}
		p := backup.Split(needs, previous)
		if len(p.Copy)+len(p.Keep) != len(needs) {
			t.Fatalf("%d to copy and %d to keep of %d", len(p.Copy), len(p.Keep), len(needs))
		}
		for _, k := range p.Keep {
			i := slices.IndexFunc(needs, func(n backup.Need) bool { return n.Key == k.Key })
			if needs[i].ETag == "" || needs[i].ETag != k.ETag || needs[i].Size != k.Copy.Size {
				t.Fatalf("%+v is kept for %+v", k, needs[i])
			}
		}
		last := 0
		for i, n := range p.Copy {
			at := slices.Index(table.Stages(), n.Role)
			if at < last || i > 0 && at == last && p.Copy[i-1].Key > n.Key {
				t.Fatalf("%s comes after %s", n.Key, p.Copy[i-1].Key)
			}
			last = at
		}
	})
}

// TestExpire draws histories of backups that share objects, and asks that expiry
// never takes what a manifest that stays names, never breaks the chain, never
// leaves less than promised, never goes against a lock, and never waits for the
// age of an object.
func TestExpire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := chain(rapid.IntRange(1, 12).Draw(t, "backups"))
		now := began.AddDate(0, 0, rapid.IntRange(0, 40).Draw(t, "days"))
		keep := rapid.IntRange(0, 4).Draw(t, "keep")
		there := map[backup.Stored]time.Time{}
		names := map[int64][]backup.Stored{}
		var aged []backup.Aged
		for i := range all {
			if rapid.IntRange(0, 19).Draw(t, "damage") == 0 {
				all[i].Damage = errBad
			}
			a := backup.Aged{Found: all[i], Held: all[i].Manifest.LockedUntil.AddDate(0, 0, rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "longer"))}
			for n := range 6 {
				s := backup.Stored{Key: fmt.Sprintf("data/%d", rapid.IntRange(0, 20).Draw(t, "object")), Version: "v"}
				if n == 0 {
					s.Key = fmt.Sprintf("list/%d", i)
				}
				names[a.Seq] = append(names[a.Seq], s)
				if a.Held.After(there[s]) {
					there[s] = a.Held // the latest lock of its manifests
				}
			}
			aged = append(aged, a)
		}
		orphan := backup.Stored{Key: "data/orphan", Version: "v"}
		there[orphan] = began.AddDate(0, 0, rapid.IntRange(0, 40).Draw(t, "orphan"))
		there[backup.Stored{Key: "data/0", Version: "never held"}] = time.Time{}
		fits := rapid.IntRange(1, 30).Draw(t, "fit into memory")
		free := func(staying []backup.Aged) (needed, gone []backup.Stored) {
			for after := ""; ; {
				n := backup.NeededAfter(after, fits)
				for _, a := range staying {
					for _, s := range names[a.Seq] {
						n.Add(s, false)
					}
				}
				if n.Len() > fits+2 {
					t.Fatalf("%d are in memory, and %d fit", n.Len(), fits)
				}
				for s, held := range there {
					if s.Key <= after || n.Until() != "" && s.Key > n.Until() {
						continue
					}
					if named, _ := n.See(s); named {
						needed = append(needed, s)
					} else if backup.Free(held, now) {
						gone = append(gone, s)
					}
				}
				for want := range n.Lacking {
					t.Fatalf("%+v is needed, and gone", want)
				}
				if after = n.Until(); after == "" {
					return needed, gone
				}
			}
		}
		going, staying := backup.Expire(aged, keep, now)

		if len(going)+len(staying) != len(all) {
			t.Fatalf("%d go and %d stay of %d", len(going), len(staying), len(all))
		}
		good := 0
		var stay []backup.Found
		for _, a := range staying {
			stay = append(stay, a.Found)
			if a.Good() {
				good++
			}
		}
		for _, a := range going {
			if a.Held.After(now) || a.Manifest.LockedUntil.After(now) || !a.Good() {
				t.Fatalf("manifest %d goes, held until %s, damage %v", a.Seq, a.Held, a.Damage)
			}
			if len(staying) > 0 && a.Seq > staying[0].Seq {
				t.Fatalf("manifest %d goes, and %d before it stays", a.Seq, staying[0].Seq)
			}
		}
		if len(going) > 0 && good < max(keep, 1) {
			t.Fatalf("%d backups stay, promised %d", good, keep)
		}
		_, gone := free(staying)
		for _, s := range gone {
			if there[s].After(now) || there[s].IsZero() {
				t.Fatalf("%+v goes, held until %s", s, there[s])
			}
			for _, a := range staying {
				if slices.Contains(names[a.Seq], s) {
					t.Fatalf("%s goes, and manifest %d names it", s.Key, a.Seq)
				}
			}
			delete(there, s)
		}
		needed, _ := free(staying)
		for _, a := range staying {
			for _, s := range names[a.Seq] {
				if !slices.Contains(needed, s) {
					t.Fatalf("manifest %d names %s, which does not count as needed", a.Seq, s.Key)
				}
			}
		}
		if at, ok := there[orphan]; ok && !at.After(now) {
			t.Fatalf("what nobody names stays, held until %s", at)
		}
		before, after := backup.Check(all, now), backup.Check(stay, now)
		if len(after) > len(before) {
			t.Fatalf("expiry broke the chain: %v, before %v", after, before)
		}
		// Nothing waits for anything else: doing it again finds nothing more.
		if again, _ := backup.Expire(staying, keep, now); len(again) > 0 {
			t.Fatalf("a second expiry finds %d manifests", len(again))
		}
		if _, again := free(staying); len(again) > 0 {
			t.Fatalf("a second expiry finds %+v", again)
		}
	})
}

func TestExposed(t *testing.T) {
	all := chain(4)
	now := began.AddDate(0, 0, 5)
	v := map[int64]backup.Verified{2: {Manifest: all[1].SHA256, At: now.Add(-time.Hour)}, 3: {Manifest: "of another manifest", At: now}}
	e := backup.Exposed(all, v, now)
	if e.Backup != "orders/2" || e.Unverified != 2 || e.Lost != 4*24*time.Hour || e.Age != time.Hour {
		t.Errorf("Exposed = %+v", e)
	}
	if e := backup.Exposed(all, nil, now); e.Backup != "" || e.Unverified != 4 {
		t.Errorf("nothing verified: %+v", e)
	}
}
