package store_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
	"breakwater/internal/sshsig"
	"breakwater/lab/server/miniotest"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

var (
	run  = ledger.Run{Workflow: "failover/lab", FirstRun: "0191-a"}
	noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

func folder(t *testing.T) *store.Folder {
	t.Helper()
	f, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestStores holds both stores to the same promises.
func TestStores(t *testing.T) {
	stores := map[string]func(t *testing.T) store.Store{
		"folder": func(t *testing.T) store.Store { return folder(t) },
	}
	server := miniotest.Shared(t)
	bucket := server.Client(t).Bucket(server.Bucket(t, "ledger", true))
	prefixes := 0
	stores["S3"] = func(*testing.T) store.Store {
		prefixes++
		return store.NewS3(bucket, fmt.Sprintf("estates/%d", prefixes))
	}
	for name, open := range stores {
		for promise, test := range map[string]func(*testing.T, store.Store){
			"read what was written": testReadBack,
			"put if absent":         testPutIfAbsent,
			"swap":                  testSwap,
			"swap, raced":           testSwapRace,
			"list":                  testList,
			"append":                testAppend,
			"signed heads":          testHeads,
			"documents":             testDocs,
			"planted documents":     testPlanted,
			"parts of a plan":       testParts,
			"export and verify":     testExport,
			"lock":                  testLock,
			"lock, raced":           testLockRace,
			"takeover":              testTakeOver,
			"epochs":                testEpochs,
		} {
			t.Run(name+"/"+promise, func(t *testing.T) { test(t, open(t)) })
		}
	}
}

// is fails the test unless err has want in its chain; nil wants no error.
func is(t *testing.T, doing string, err, want error) {
	t.Helper()
	if (want == nil && err != nil) || !errors.Is(err, want) {
		t.Fatalf("%s: error is %v, want %v", doing, err, want)
	}
}

func testReadBack(t *testing.T, s store.Store) {
	_, err := s.Get(t.Context(), "runs/a/b")
	is(t, "read what is not there", err, fs.ErrNotExist)
	is(t, "put", s.PutIfAbsent(t.Context(), "runs/a/=2Fb", []byte("x\x00y")), nil)
	data, err := s.Get(t.Context(), "runs/a/=2Fb")
	is(t, "get", err, nil)
	if string(data) != "x\x00y" {
		t.Errorf("read %q", data)
	}
}

func testPutIfAbsent(t *testing.T, s store.Store) {
	is(t, "first", s.PutIfAbsent(t.Context(), "k", []byte("one")), nil)
	is(t, "the same again", s.PutIfAbsent(t.Context(), "k", []byte("one")), nil)
	is(t, "another", s.PutIfAbsent(t.Context(), "k", []byte("two")), fs.ErrExist)
	if data, err := s.Get(t.Context(), "k"); err != nil || string(data) != "one" {
		t.Errorf("there is %q, %v", data, err)
	}
}

func testSwap(t *testing.T, s store.Store) {
	one, two, three := []byte("one"), []byte("two"), []byte("three")
	is(t, "replace what is not there", s.Swap(t.Context(), "lock/l.json", one, two), store.ErrMoved)
	is(t, "create", s.Swap(t.Context(), "lock/l.json", nil, one), nil)
	is(t, "create again", s.Swap(t.Context(), "lock/l.json", nil, one), nil)
	is(t, "create another", s.Swap(t.Context(), "lock/l.json", nil, two), store.ErrMoved)
	is(t, "replace", s.Swap(t.Context(), "lock/l.json", one, two), nil)
	is(t, "replace again", s.Swap(t.Context(), "lock/l.json", one, two), nil)
	is(t, "replace what was", s.Swap(t.Context(), "lock/l.json", one, three), store.ErrMoved)
	if data, err := s.Get(t.Context(), "lock/l.json"); err != nil || string(data) != "two" {
		t.Errorf("there is %q, %v", data, err)
	}
}

func testSwapRace(t *testing.T, s store.Store) {
	is(t, "create", s.Swap(t.Context(), "k", nil, []byte("start")), nil)
	won := make([]bool, 20)
	var g errgroup.Group
	for i := range won {
		g.Go(func() error {
			err := s.Swap(t.Context(), "k", []byte("start"), fmt.Append(nil, i))
			won[i] = err == nil
			if errors.Is(err, store.ErrMoved) {
				return nil
			}
			return err
		})
	}
	is(t, "race", g.Wait(), nil)
	data, err := s.Get(t.Context(), "k")
	is(t, "get", err, nil)
	for i, w := range won {
		if w != (string(data) == fmt.Sprint(i)) {
			t.Errorf("%q is there, and %d believes to have won: %v", data, i, w)
		}
	}
}

func testList(t *testing.T, s store.Store) {
	keys := []string{"runs/a-b/x", "runs/a/x", "runs/a/y/z", "runs/a/y=2Fz", "runs/b", "lock/l.json"}
	for _, key := range keys {
		is(t, "put", s.PutIfAbsent(t.Context(), key, []byte(key)), nil)
	}
	slices.Sort(keys)
	for _, prefix := range []string{"", "runs/", "runs/a", "runs/a/", "runs/a/y", "runs/c/", "nothing/at/all/"} {
		want := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		var got []string
		for key, err := range s.List(t.Context(), prefix) {
			is(t, "list", err, nil)
			got = append(got, key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("under %q there are %q, want %q", prefix, got, want)
		}
	}
	for range s.List(t.Context(), "") {
		break // must not go on
	}
}

func entry(t *testing.T, chain *ledger.Chain, said string) ([]byte, ledger.Head) {
	t.Helper()
	body, err := ledger.Encode(said)
	is(t, "encode", err, nil)
	data, head, err := chain.Append(ledger.Entry{Time: noon, Kind: ledger.Note, Body: body})
	is(t, "append", err, nil)
	return data, head
}

func testAppend(t *testing.T, s store.Store) {
	chain := ledger.NewChain(run)
	fork := chain
	first, head := entry(t, &chain, "mine")
	if err := store.Append(t.Context(), s, head, []byte("{}")); err == nil {
		t.Error("appended bytes that are not the head's")
	}
	is(t, "append", store.Append(t.Context(), s, head, first), nil)
	is(t, "append again", store.Append(t.Context(), s, head, first), nil)
	other, otherHead := entry(t, &fork, "theirs")
	err := store.Append(t.Context(), s, otherHead, other)
	is(t, "append another", err, store.ErrForked)
	for _, digest := range []string{head.Hash, otherHead.Hash} {
		if !strings.Contains(err.Error(), digest) {
			t.Errorf("%q does not name %s", err, digest)
		}
	}
	second, head := entry(t, &chain, "mine too")
	is(t, "append", store.Append(t.Context(), s, head, second), nil)

	entries, again, err := store.Load(t.Context(), s, run)
	is(t, "load", err, nil)
	if len(entries) != 2 || again != chain {
		t.Errorf("loaded %d entries, chain %v, want %v", len(entries), again, chain)
	}
	is(t, "put", s.PutIfAbsent(t.Context(), ledger.ChainKey(run, 4), second), nil)
	if _, _, err := store.Load(t.Context(), s, run); err == nil {
		t.Error("loaded a chain with a gap")
	}
}

func signer(t *testing.T, n byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)))
	is(t, "make a key", err, nil)
	return s
}

func testHeads(t *testing.T, s store.Store) {
	for _, tc := range []struct {
		key  byte
		hash string
		want error
	}{{1, "aa", nil}, {1, "aa", nil}, {2, "aa", nil}, {1, "bb", store.ErrForked}} {
		signed, err := ledger.SignHead(signer(t, tc.key), ledger.Head{Run: run, Seq: 1, Hash: tc.hash})
		is(t, "sign", err, nil)
		is(t, fmt.Sprintf("put head %s of key %d", tc.hash, tc.key), store.PutHead(t.Context(), s, signed), tc.want)
	}
}

func testDocs(t *testing.T, s store.Store) {
	key := ledger.DocKey(run, "Promote tables", "sales/orders", 1, ledger.DocOutcome)
	first, worker := []byte("\"first\"\n"), signer(t, 1)
	trusted := []sshsig.Key{sshsig.Public(worker), sshsig.Public(signer(t, 2))}
	_, _, err := store.FindDoc(t.Context(), s, trusted, key)
	is(t, "find what is not there", err, fs.ErrNotExist)
	for _, said := range []struct {
		by   byte
		text string
	}{{1, "\"first\"\n"}, {1, "\"first\"\n"}, {2, "\"first\"\n"}, {1, "\"second\"\n"}} {
		ref, data, err := store.PutDoc(t.Context(), s, signer(t, said.by), trusted, key, []byte(said.text))
		is(t, "put", err, nil)
		if !bytes.Equal(data, first) || ref != ledger.Ref(key, first) {
			t.Errorf("after putting %q there is %q, %+v", said.text, data, ref)
		}
		read, err := store.GetDoc(t.Context(), s, trusted, ref)
		is(t, "get", err, nil)
		found, data, err := store.FindDoc(t.Context(), s, trusted, key)
		is(t, "find", err, nil)
		if !bytes.Equal(read, first) || !bytes.Equal(data, first) || found != ref {
			t.Errorf("read %q, found %q, %+v", read, data, found)
		}
	}
	_, err = store.GetDoc(t.Context(), s, trusted, ledger.Ref(key, []byte("other")))
	is(t, "read what is named otherwise", err, store.ErrDigest)
	_, err = store.GetDoc(t.Context(), s, trusted, ledger.Ref(key+"x", nil))
	is(t, "read what is not there", err, fs.ErrNotExist)
	if _, _, err := store.PutDoc(t.Context(), s, worker, trusted, "lock/lab.json", first); err == nil {
		t.Error("kept a document under the lock's key")
	}
}

// What somebody else put under a document's key is refused by whoever reads it, by its key,
// and stays where it is.
func testPlanted(t *testing.T, s store.Store) {
	worker, body := signer(t, 1), []byte("{}\n")
	trusted := []sshsig.Key{sshsig.Public(worker)}
	doc := func(item string) string { return ledger.DocKey(run, "Promote tables", item, 1, ledger.DocPlan) }
	moved, err := ledger.SealDoc(worker, doc("another"), body)
	is(t, "sign", err, nil)
	stranger, err := ledger.SealDoc(signer(t, 3), doc("stranger"), body)
	is(t, "sign", err, nil)
	for item, data := range map[string][]byte{"unsigned": body, "moved": moved, "stranger": stranger} {
		key, ref := doc(item), ledger.Ref(doc(item), body)
		is(t, "plant", s.PutIfAbsent(t.Context(), key, data), nil)
		_, _, put := store.PutDoc(t.Context(), s, worker, trusted, key, body)
		_, _, find := store.FindDoc(t.Context(), s, trusted, key)
		_, get := store.GetDoc(t.Context(), s, trusted, ref)
		_, leaf := store.Leaf(t.Context(), s, trusted, ref)
		for doing, err := range map[string]error{"put": put, "find": find, "get": get, "leaf": leaf} {
			is(t, doing+" "+item, err, store.ErrPlanted)
			if !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "{}") {
				t.Errorf("%s %s: the error does not say what lies where: %v", doing, item, err)
			}
		}
		there, err := s.Get(t.Context(), key)
		is(t, "look", err, nil)
		if !bytes.Equal(there, data) {
			t.Errorf("%s was overwritten with %q", item, there)
		}
	}
	index := ledger.DocKey(run, "Promote tables", "a..b", 1, ledger.DocIndex)
	planted := []byte(`{"docs":[]}` + "\n")
	is(t, "plant", s.PutIfAbsent(t.Context(), index, planted), nil)
	_, err = store.Expand(t.Context(), s, trusted, ledger.Ref(index, planted))
	is(t, "expand an index", err, store.ErrPlanted)
}

func testParts(t *testing.T, s store.Store) {
	var first string
	for range 2 {
		digest, err := store.PutPart(t.Context(), s, run, []byte("some lines"))
		is(t, "put", err, nil)
		first = digest
	}
	got, err := store.GetPart(t.Context(), s, run, first)
	is(t, "get", err, nil)
	if string(got) != "some lines" || first != ledger.Digest(got) {
		t.Errorf("read %q for %s", got, first)
	}
	planted := ledger.Digest([]byte("other lines"))
	is(t, "plant", s.PutIfAbsent(t.Context(), ledger.PartKey(run, planted), got), nil)
	_, err = store.GetPart(t.Context(), s, run, planted)
	is(t, "read what was planted", err, store.ErrDigest)
	_, err = store.PutPart(t.Context(), s, run, []byte("other lines"))
	is(t, "put over what was planted", err, store.ErrDigest)
	_, err = store.GetPart(t.Context(), s, run, ledger.Digest(nil))
	is(t, "read what is not there", err, fs.ErrNotExist)
	_, err = store.GetPart(t.Context(), s, ledger.Run{Workflow: "w", FirstRun: "f"}, first)
	is(t, "read another run's", err, fs.ErrNotExist)
}

func testExport(t *testing.T, s store.Store) {
	key, chain := signer(t, 1), ledger.NewChain(run)
	for _, said := range []string{"one", "two", "three"} {
		data, head := entry(t, &chain, said)
		is(t, "append", store.Append(t.Context(), s, head, data), nil)
		signed, err := ledger.SignHead(key, head)
		is(t, "sign", err, nil)
		is(t, "put head", store.PutHead(t.Context(), s, signed), nil)
	}
	is(t, "another run", s.PutIfAbsent(t.Context(), ledger.ChainKey(ledger.Run{Workflow: "w", FirstRun: "f"}, 1), nil), nil)

	out := folder(t)
	for range 2 {
		n, err := store.Export(t.Context(), s, out, run)
		is(t, "export", err, nil)
		if n != 6 {
			t.Errorf("exported %d objects, want 6", n)
		}
	}
	for name, from := range map[string]store.Store{"store": s, "export": out} {
		res, err := ledger.Verify(t.Context(), from, run, []sshsig.Key{sshsig.Public(key)})
		is(t, "verify the "+name, err, nil)
		if res.Fault != nil || res.Head != chain.Head {
			t.Errorf("%s: %+v, fault %v", name, res, res.Fault)
		}
	}
	runs, err := store.Runs(t.Context(), s)
	is(t, "list runs", err, nil)
	if !slices.Equal(runs, []ledger.Run{run, {Workflow: "w", FirstRun: "f"}}) {
		t.Errorf("runs are %v", runs)
	}
	is(t, "add an entry", s.PutIfAbsent(t.Context(), ledger.ChainKey(run, 4), []byte("{}")), nil)
	if res, err := ledger.Verify(t.Context(), s, run, []sshsig.Key{sshsig.Public(key)}); err != nil || res.Fault == nil || res.Fault.Seq != 4 {
		t.Errorf("an entry that was put behind the end: %+v, %v", res, err)
	}
}

func TestFolderKeepsInside(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	is(t, "write", os.WriteFile(outside, []byte("secret"), 0o600), nil)
	is(t, "link", os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link")), nil)
	f, err := store.OpenFolder(dir)
	is(t, "open", err, nil)
	t.Cleanup(func() { is(t, "close", f.Close(), nil) })
	for _, key := range []string{"link/secret", "../secret", "/etc/hostname", "a/../../b", ".swap", "a/.b", "", "."} {
		if data, err := f.Get(t.Context(), key); err == nil {
			t.Errorf("read %q through %q", data, key)
		}
		if err := f.PutIfAbsent(t.Context(), key, nil); err == nil {
			t.Errorf("wrote through %q", key)
		}
	}
	for key, err := range f.List(t.Context(), "../") {
		if err == nil {
			t.Errorf("listed %q", key)
		}
	}
	if _, err := store.OpenFolder(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened a folder that is not there: %v", err)
	}
}

// What cannot be asked must not look like an answer: a lock that is free, an
// epoch that has passed, an entry that is gone.
func TestNoAnswerIsNoAnswer(t *testing.T) {
	server := miniotest.Start(t)
	client := server.Client(t)
	ask := func(s store.Store) map[string]error {
		_, get := s.Get(t.Context(), "k")
		_, acquire := store.NewLock(s, "lab").Acquire(t.Context(), store.Holder{Run: run}, all)
		return map[string]error{
			"get": get, "acquire": acquire, "check": check(t, store.NewLock(s, "lab"), holder(1).Run, 1),
			"swap": s.Swap(t.Context(), "k", []byte("a"), []byte("b")),
		}
	}
	for doing, err := range ask(store.NewS3(client.Bucket("no-such-bucket"), "")) {
		if !errors.Is(err, objectstore.ErrNoBucket) || errors.Is(err, store.ErrSuperseded) || errors.Is(err, store.ErrMoved) {
			t.Errorf("%s without a bucket: %v", doing, err)
		}
	}
	server.Kill()
	for doing, err := range ask(store.NewS3(client.Bucket("ledger"), "")) {
		if !reach.Unreachable(err) || errors.Is(err, store.ErrSuperseded) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s without a server: %v", doing, err)
		}
	}
}
