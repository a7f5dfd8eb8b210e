package ledger_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"
)

// objects is evidence in memory.
type objects map[string][]byte

func (o objects) Get(_ context.Context, key string) ([]byte, error) {
	if data, ok := o[key]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (o objects) List(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(o)) {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}

// signer returns a key made from a number, the same every time.
func signer(tb testing.TB, n byte) ssh.Signer {
	tb.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

const (
	entries = 9
	planned = 3 // names a document
	indexed = 6 // names an index, which names another
	undone  = 7 // names the plan of an undo
)

var (
	planDoc  = ledger.DocKey(run, "Promote tables", "sales/orders", 1, ledger.DocPlan)
	indexDoc = ledger.DocKey(run, "Promote tables", "batch 1", 1, ledger.DocIndex)
	innerDoc = ledger.DocKey(run, "Promote tables", "sales/lines", 1, ledger.DocOutcome)
	undoDoc  = ledger.DocKey(run, "Promote tables", "sales/orders", 1, "undo-plan")
	parts    = []string{"the first part of a large plan", "the second"}
	partDoc  = ledger.PartKey(run, ledger.Digest([]byte(parts[1])))
	undoPart = ledger.PartKey(run, ledger.Digest([]byte("how it goes back")))
)

// evidence writes a whole run, from entry from on with another story, and signs
// the heads at the given entries. Without any it signs each.
func evidence(tb testing.TB, key ssh.Signer, forkAt int64, signed ...int64) objects {
	tb.Helper()
	o, chain := objects{}, ledger.NewChain(run)
	put := func(key string, v any) ledger.DocRef {
		data, err := ledger.Encode(v)
		if err != nil {
			tb.Fatal(err)
		}
		if o[key], err = ledger.SealDoc(signer(tb, 1), key, data); err != nil {
			tb.Fatal(err)
		}
		return ledger.Ref(key, data)
	}
	// large is a plan in parts.
	large := func(parts ...string) any {
		var digests []string
		for _, p := range parts {
			digests = append(digests, ledger.Digest([]byte(p)))
			o[ledger.PartKey(run, digests[len(digests)-1])] = []byte(p)
		}
		return map[string]any{"to": 7, "change": map[string]any{"parts": digests}}
	}
	for seq := int64(1); seq <= entries; seq++ {
		e := ledger.Entry{Time: noon.Add(time.Duration(seq) * time.Second), Kind: ledger.Note, Body: json.RawMessage(`"said"`)}
		switch seq {
		case planned:
			e.Kind, e.Docs = ledger.Planned, []ledger.DocRef{put(planDoc, large(parts...))}
		case indexed:
			inner := put(innerDoc, "promoted")
			e.Kind, e.Docs = ledger.Outcome, []ledger.DocRef{put(indexDoc, ledger.Index{Docs: []ledger.DocRef{inner}})}
		case undone:
			e.Kind, e.Docs = ledger.Planned, []ledger.DocRef{put(undoDoc, large("how it goes back"))}
		case entries:
			e.Kind = ledger.RunEnded
		}
		if forkAt > 0 && seq >= forkAt {
			e.Body = json.RawMessage(`"another story"`)
		}
		data, head, err := chain.Append(e)
		if err != nil {
			tb.Fatal(err)
		}
		o[ledger.ChainKey(run, seq)] = data
		if len(signed) == 0 || slices.Contains(signed, seq) {
			s, err := ledger.SignHead(key, head)
			if err != nil {
				tb.Fatal(err)
			}
			o[ledger.HeadKey(run, seq)] = s.Bytes()
		}
	}
	return o
}

func TestVerifyPassesWhatWasSigned(t *testing.T) {
	key := signer(t, 1)
	for name, signed := range map[string][]int64{"every head": nil, "some heads": {2, 5, entries}, "the last head": {entries}} {
		t.Run(name, func(t *testing.T) {
			res, err := ledger.Verify(t.Context(), evidence(t, key, 0, signed...), run, []sshsig.Key{sshsig.Public(key)})
			if err != nil || res.Fault != nil {
				t.Fatalf("fault %v, %v", res.Fault, err)
			}
			if res.Entries != entries || res.Docs != 7 || !res.Ended || res.Head.Seq != entries || len(res.Signers) != 1 ||
				!res.First.Equal(noon.Add(time.Second)) || !res.Last.Equal(noon.Add(entries*time.Second)) {
				t.Errorf("result is %+v", res)
			}
		})
	}
}

func TestVerifyNamesTheFirstFault(t *testing.T) {
	key, other := signer(t, 1), signer(t, 2)
	entry := func(seq int64) string { return ledger.ChainKey(run, seq) }
	head := func(seq int64) string { return ledger.HeadKey(run, seq) }
	edit := func(o objects, key, from, to string) {
		if !bytes.Contains(o[key], []byte(from)) {
			t.Fatalf("%s does not contain %q: %s", key, from, o[key])
		}
		o[key] = bytes.Replace(o[key], []byte(from), []byte(to), 1)
	}
	// forge replaces the chain from one entry on, with consistent hashes.
	forge := func(o objects, from int64) {
		for k, v := range evidence(t, other, from) {
			if strings.HasPrefix(k, ledger.ChainPrefix(run)) {
				o[k] = v
			}
		}
	}
	every, sparse := []int64(nil), []int64{3, 6, entries}
	for name, tc := range map[string]struct {
		signed []int64
		do     func(o objects)
		seq    int64
		key    string
		wrong  ledger.Wrong
	}{
		"an entry changed":               {every, func(o objects) { edit(o, entry(4), "said", "told") }, 4, entry(4), ledger.Changed},
		"an entry changed between heads": {sparse, func(o objects) { edit(o, entry(4), "said", "told") }, 4, entry(4), ledger.Changed},
		"the entry before a head":        {sparse, func(o objects) { edit(o, entry(5), "said", "told") }, 5, entry(5), ledger.Changed},
		"a link changed":                 {sparse, func(o objects) { edit(o, entry(5), `"prev":"`, `"prev":"0`) }, 5, entry(5), ledger.Changed},
		"entries in a row changed": {[]int64{3, entries}, func(o objects) {
			for seq := int64(5); seq <= 7; seq++ {
				if seq != indexed {
					edit(o, entry(seq), "said", "told")
				} else {
					edit(o, entry(seq), "outcome", "intent")
				}
			}
		}, 6, entry(6), ledger.Changed}, // that entry 5 was, too, nothing proves
		"the first entry changed":  {every, func(o objects) { edit(o, entry(1), "said", "told") }, 1, entry(1), ledger.Changed},
		"the last entry changed":   {every, func(o objects) { edit(o, entry(entries), "said", "told") }, entries, entry(entries), ledger.Changed},
		"an entry made unreadable": {every, func(o objects) { o[entry(4)] = o[entry(4)][:10] }, 4, entry(4), ledger.Changed},
		"two entries swapped":      {every, func(o objects) { o[entry(4)], o[entry(5)] = o[entry(5)], o[entry(4)] }, 4, entry(4), ledger.Changed},
		"an entry dropped":         {every, func(o objects) { delete(o, entry(4)) }, 4, entry(4), ledger.Dropped},
		"the last entry dropped":   {every, func(o objects) { delete(o, entry(entries)) }, entries, entry(entries), ledger.Dropped},
		"all entries dropped": {every, func(o objects) {
			maps.DeleteFunc(o, func(k string, _ []byte) bool { return strings.Contains(k, "/chain/") })
		}, 1, entry(1), ledger.Dropped},
		"re-hashed, every head signed":       {every, func(o objects) { forge(o, 5) }, 5, entry(5), ledger.Rehashed},
		"re-hashed, some heads signed":       {sparse, func(o objects) { forge(o, 5) }, 6, entry(6), ledger.Rehashed},
		"re-hashed from the first":           {every, func(o objects) { forge(o, 1) }, 1, entry(1), ledger.Rehashed},
		"an entry added after the last head": {[]int64{3, 8}, func(objects) {}, 9, entry(9), ledger.Unsigned},
		"the last head dropped":              {sparse, func(o objects) { delete(o, head(entries)) }, 7, entry(7), ledger.Unsigned},
		"no head at all": {sparse, func(o objects) {
			maps.DeleteFunc(o, func(k string, _ []byte) bool { return strings.HasSuffix(k, ".sig") })
		}, 1, entry(1), ledger.Unsigned},
		"two histories signed": {every, func(o objects) {
			for k, v := range evidence(t, key, 5) {
				if k != head(5) {
					o[k] = v
				}
			}
		}, 5, entry(5), ledger.Forked},
		"a head by a stranger":              {every, func(o objects) { o[head(6)] = evidence(t, other, 0)[head(6)] }, 6, head(6), ledger.UnknownSigner},
		"a stranger's head after the end":   {every, func(o objects) { o[head(10)] = evidence(t, other, 0)[head(6)] }, 10, head(10), ledger.UnknownSigner},
		"a stranger re-signed all":          {every, func(o objects) { maps.Copy(o, evidence(t, other, 5)) }, 1, head(1), ledger.UnknownSigner},
		"a head with another hash":          {every, func(o objects) { edit(o, head(6), "sha256: ", "sha256: 0") }, 6, head(6), ledger.BadSignature},
		"a head without a signature":        {every, func(o objects) { o[head(6)] = []byte("trust me") }, 6, head(6), ledger.BadSignature},
		"a head of another entry":           {every, func(o objects) { o[head(6)] = o[head(5)] }, 6, head(6), ledger.BadSignature},
		"a document changed":                {every, func(o objects) { edit(o, planDoc, "7", "8") }, planned, planDoc, ledger.DocChanged},
		"a document missing":                {every, func(o objects) { delete(o, planDoc) }, planned, planDoc, ledger.DocMissing},
		"a document in an index changed":    {every, func(o objects) { edit(o, innerDoc, "promoted", "demoted") }, indexed, innerDoc, ledger.DocChanged},
		"a document in an index missing":    {every, func(o objects) { delete(o, innerDoc) }, indexed, innerDoc, ledger.DocMissing},
		"a part of a plan changed":          {every, func(o objects) { edit(o, partDoc, "second", "third") }, planned, partDoc, ledger.DocChanged},
		"a part of a plan missing":          {every, func(o objects) { delete(o, partDoc) }, planned, partDoc, ledger.DocMissing},
		"a part of an undo's plan missing":  {every, func(o objects) { delete(o, undoPart) }, undone, undoPart, ledger.DocMissing},
		"something else among the entries":  {every, func(o objects) { o[ledger.ChainPrefix(run)+"4.json"] = o[entry(4)] }, 1, ledger.ChainPrefix(run) + "4.json", ledger.Stray},
		"the document before the entry":     {every, func(o objects) { edit(o, planDoc, "7", "8"); edit(o, entry(4), "said", "told") }, planned, planDoc, ledger.DocChanged},
		"the entry before the document":     {every, func(o objects) { edit(o, innerDoc, "promoted", "x"); edit(o, entry(4), "said", "told") }, 4, entry(4), ledger.Changed},
		"another run's chain under our key": {every, func(o objects) { edit(o, entry(4), "0191-a", "0191-b") }, 4, entry(4), ledger.Changed},
	} {
		t.Run(name, func(t *testing.T) {
			o := evidence(t, key, 0, tc.signed...)
			tc.do(o)
			res, err := ledger.Verify(t.Context(), o, run, []sshsig.Key{sshsig.Public(key)})
			if err != nil {
				t.Fatal(err)
			}
			if res.Fault == nil {
				t.Fatal("nothing found")
			}
			if f := *res.Fault; f.Seq != tc.seq || f.Key != tc.key || f.Wrong != tc.wrong || f.Detail == "" {
				t.Errorf("found %v\nwant entry %d (%s): %s", f, tc.seq, tc.key, tc.wrong)
			}
			if res.Entries != tc.seq-1 {
				t.Errorf("%d entries verified before the fault in entry %d", res.Entries, tc.seq)
			}
		})
	}
}

// Any change of any byte of any object is found.
func TestVerifyFindsEveryChange(t *testing.T) {
	key := signer(t, 1)
	whole := evidence(t, key, 0, 3, 6, entries)
	keys := slices.Sorted(maps.Keys(whole))
	last := ledger.HeadKey(run, entries)
	// A signed head that a later one covers may go.
	needed := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return strings.HasSuffix(k, ".sig") && k != last })
	rapid.Check(t, func(t *rapid.T) {
		o := maps.Clone(whole)
		if rapid.Bool().Draw(t, "drop") {
			delete(o, rapid.SampledFrom(needed).Draw(t, "key"))
		} else {
			at := rapid.SampledFrom(keys).Draw(t, "key")
			var covered []int // white space in a signature's armour is not
			for i, c := range o[at] {
				if c != '\n' || !strings.HasSuffix(at, ".sig") {
					covered = append(covered, i)
				}
			}
			data := slices.Clone(o[at])
			data[rapid.SampledFrom(covered).Draw(t, "byte")] ^= rapid.ByteRange(1, 127).Draw(t, "flip")
			o[at] = data
		}
		res, err := ledger.Verify(t.Context(), o, run, []sshsig.Key{sshsig.Public(key)})
		if err != nil || res.Fault == nil {
			t.Fatalf("not found, %v", err)
		}
	})
}

type unreadable struct{ objects }

var errDown = errors.New("connection refused")

func (unreadable) Get(context.Context, string) ([]byte, error) { return nil, errDown }

func TestVerifyConcludesNothingWithoutReading(t *testing.T) {
	key := signer(t, 1)
	trusted := []sshsig.Key{sshsig.Public(key)}
	if res, err := ledger.Verify(t.Context(), unreadable{evidence(t, key, 0)}, run, trusted); !errors.Is(err, errDown) {
		t.Errorf("verified what could not be read: %+v, %v", res, err)
	}
	if res, err := ledger.Verify(t.Context(), objects{}, run, trusted); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("verified nothing: %+v, %v", res, err)
	}
}

// A stored head is all that a person needs who has only OpenSSH.
func TestSignedHeadVerifiesWithOpenSSH(t *testing.T) {
	key, dir := signer(t, 1), t.TempDir()
	stored := evidence(t, key, 0)[ledger.HeadKey(run, 5)]
	text, sig, _ := bytes.Cut(stored, []byte("-----BEGIN"))
	for name, data := range map[string]string{
		"allowed": "worker " + sshsig.Public(key).String() + "\n", "sig": "-----BEGIN" + string(sig),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keygen(t, string(text), "-Y", "verify", "-f", filepath.Join(dir, "allowed"), "-I", "worker",
		"-n", ledger.HeadNamespace, "-s", filepath.Join(dir, "sig"))
}

// keygen runs the real ssh-keygen.
func keygen(t *testing.T, stdin string, args ...string) {
	t.Helper()
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Fatal("this test needs ssh-keygen (OpenSSH 8.2 or later) on the PATH: auditors verify with it")
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ssh-keygen %q: %v: %s", args, err, out)
	}
}
