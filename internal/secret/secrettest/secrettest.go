// Package secrettest is what package secret promises, as a suite that runs against
// any store.
package secrettest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/promise"
	"breakwater/internal/reach"
	"breakwater/internal/secret"
)

// Target is what the suite runs against.
type Target struct {
	// Store may read and write everything. It may hold other secrets: the suite's
	// own are below a path that is new each time.
	Store secret.Store
	// Denied is the same store as seen by a principal that may do nothing with the
	// suite's secrets.
	Denied secret.Store
	// Silent is a store of the same kind at an address where nothing answers.
	Silent secret.Store
	// Delete deletes a secret's current version, as a person does by hand.
	Delete func(ctx context.Context, path string) error
	// Seal makes the store one that answers and serves nothing, and Unseal takes
	// that back. Both are nil for a kind of store that has no such state.
	Seal, Unseal func(ctx context.Context) error
}

// Run runs the suite.
func Run(t *testing.T, target Target) {
	t.Helper()
	suite.Run(t, target)
}

// silence is how long a store may take to say that nothing answers.
const silence = 10 * time.Second

// value is what errors must not show.
const value = "hunter2-the-password"

type content = map[string]any

var suite = promise.Suite[Target]{
	{Name: "what was written is read", Check: testRead},
	{Name: "what never was is missing", Check: testMissing},
	{Name: "every write is one version more", Check: testVersions},
	{Name: "a write replaces the whole content", Check: testReplaces},
	{Name: "a stale write changes nothing", Check: testStale},
	{Name: "the same write again is taken as done", Check: testAgain},
	{Name: "of many writers one wins", Check: testRace},
	{Name: "what is deleted is missing, and keeps counting", Check: testDeleted},
	{Name: "an older version is read as it was", Check: testOlder},
	{Name: "a deletion takes the version that was named", Check: testDelete},
	{Name: "each secret is on its own", Check: testApart},
	{Name: "denied is not missing", Check: testDenied},
	{Name: "silence is no answer", Check: testSilent},
	{Name: "sealed is an answer", Check: testSealed},
	{Name: "a cancelled call ends with its context's error", Check: testCancelled},
	{Name: "no error shows a content", Check: testHidden},
	{Name: "people are told where a secret is", Check: testGuide},
}

// fresh is a path that nobody has used.
func fresh() string { return "secrettest/" + rand.Text() + "/lakehouse/orders" }

// is fails the test unless err is want and none of not.
func is(t testing.TB, doing string, err, want error, not ...error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v in its chain", doing, err, want)
	}
	for _, n := range not {
		if errors.Is(err, n) {
			t.Errorf("%s: error %v must not be %v", doing, err, n)
		}
	}
}

func write(t testing.TB, s secret.Store, path string, data content, seen int) secret.Secret {
	t.Helper()
	now, err := s.Write(t.Context(), path, data, seen)
	if err != nil {
		t.Fatalf("Write after version %d = %v", seen, err)
	}
	return now
}

// same fails the test unless a secret is that version, with that content.
func same(t testing.TB, doing string, now secret.Secret, version int, data content) {
	t.Helper()
	if now.Version != version || now.Deleted {
		t.Errorf("%s = version %d (deleted %t), want version %d", doing, now.Version, now.Deleted, version)
	}
	if diff := cmp.Diff(data, now.Data); diff != "" {
		t.Errorf("%s: other content (-want +got):\n%s", doing, diff)
	}
}

// holds fails the test unless the secret is at that version, with that content.
func holds(t testing.TB, s secret.Store, path string, version int, data content) {
	t.Helper()
	now, err := s.Read(t.Context(), path)
	if err != nil {
		t.Fatalf("Read = %v, want version %d", err, version)
	}
	same(t, "Read", now, version, data)
	booked(t, s, path, version, secret.Kept)
}

// booked fails the test unless the store has written down what the current version is,
// and what became of it.
func booked(t testing.TB, s secret.Store, path string, version int, state secret.State) {
	t.Helper()
	b, err := s.Book(t.Context(), path)
	if err != nil || b.Current != version || b.State(version) != state {
		t.Errorf("Book = %+v, %v; want version %d, %s", b, err, version, state)
	}
}

func testRead(t testing.TB, target Target) {
	path := fresh()
	given := content{
		"endpoint": "east", "port": 9092, "large": json.Number("9007199254740991"), "share": 0.1, "tls": true,
		"hosts": []any{"a", "ü<&>\n"}, "nested": content{"empty": "", "none": nil},
	}
	read := maps.Clone(given)
	read["port"], read["share"] = json.Number("9092"), json.Number("0.1")
	began := time.Now()
	now := write(t, target.Store, path, given, 0)
	same(t, "Write", now, 1, read)
	holds(t, target.Store, path, 1, read)
	again, err := target.Store.Read(t.Context(), path)
	if err != nil || !again.Created.Equal(now.Created) {
		t.Errorf("Read says written at %v, %v; Write said %v", again.Created, err, now.Created)
	}
	if d := now.Created.Sub(began).Abs(); d > time.Hour { // whose clock it is, is not promised
		t.Errorf("written at %v, and it is %v", now.Created, began)
	}
	if err := secret.Readable(t.Context(), target.Store, path); err != nil {
		t.Errorf("Readable = %v", err)
	}
}

func testMissing(t testing.TB, target Target) {
	path := fresh()
	now, err := target.Store.Read(t.Context(), path)
	is(t, "Read", err, fs.ErrNotExist, fs.ErrPermission, reach.ErrUnreachable, secret.ErrSealed)
	if now.Version != 0 || now.Data != nil || now.Deleted {
		t.Errorf("Read = %+v, want nothing", now)
	}
	booked(t, target.Store, path, 0, secret.Gone)
	_, err = target.Store.Version(t.Context(), path, 1)
	is(t, "Version 1", err, fs.ErrNotExist, fs.ErrPermission, reach.ErrUnreachable, secret.ErrSealed)
	is(t, "Readable", secret.Readable(t.Context(), target.Store, path), fs.ErrNotExist)
}

func testVersions(t testing.TB, target Target) {
	path := fresh()
	for seen := range 4 {
		data := content{"n": strconv.Itoa(seen)}
		if now := write(t, target.Store, path, data, seen); now.Version != seen+1 {
			t.Errorf("Write after version %d = version %d", seen, now.Version)
		}
		holds(t, target.Store, path, seen+1, data)
	}
	// An equal content is a write like any other where its caller saw the last one.
	data := content{"n": "3"}
	if now := write(t, target.Store, path, data, 4); now.Version != 5 {
		t.Errorf("Write of what is there already, after version 4 = version %d", now.Version)
	}
	holds(t, target.Store, path, 5, data)
}

func testReplaces(t testing.TB, target Target) {
	path := fresh()
	write(t, target.Store, path, content{"endpoint": "east", "topic": "orders"}, 0)
	one := content{"endpoint": "west"}
	same(t, "Write", write(t, target.Store, path, one, 1), 2, one)
	holds(t, target.Store, path, 2, one)
}

func testStale(t testing.TB, target Target) {
	path := fresh()
	for _, seen := range []int{1, 99} {
		_, err := target.Store.Write(t.Context(), path, content{"a": "b"}, seen)
		is(t, fmt.Sprintf("Write after version %d of what never was", seen), err, secret.ErrChanged, fs.ErrNotExist)
	}
	write(t, target.Store, path, content{"endpoint": "east"}, 0)
	two := content{"endpoint": "west"}
	write(t, target.Store, path, two, 1)
	for _, seen := range []int{0, 1, 3, 99} {
		_, err := target.Store.Write(t.Context(), path, content{"endpoint": "nowhere"}, seen)
		is(t, fmt.Sprintf("Write after version %d, where version 2 is current", seen), err, secret.ErrChanged, fs.ErrPermission, reach.ErrUnreachable)
	}
	holds(t, target.Store, path, 2, two)
}

func testAgain(t testing.TB, target Target) {
	path := fresh()
	one, two := content{"endpoint": "east", "port": 1}, content{"endpoint": "west"}
	write(t, target.Store, path, one, 0)
	if now := write(t, target.Store, path, one, 0); now.Version != 1 {
		t.Errorf("the same write again = version %d, want 1", now.Version)
	}
	holds(t, target.Store, path, 1, content{"endpoint": "east", "port": json.Number("1")})
	write(t, target.Store, path, two, 1)
	if now := write(t, target.Store, path, two, 1); now.Version != 2 {
		t.Errorf("the same write again = version %d, want 2", now.Version)
	}
	_, err := target.Store.Write(t.Context(), path, one, 0)
	is(t, "the first write once more, after another", err, secret.ErrChanged)
	holds(t, target.Store, path, 2, two)
}

func testRace(t testing.TB, target Target) {
	path := fresh()
	write(t, target.Store, path, content{"n": "start"}, 0)
	var won, last atomic.Int32
	var g errgroup.Group
	for i := range 20 {
		g.Go(func() error {
			_, err := target.Store.Write(t.Context(), path, content{"n": strconv.Itoa(i)}, 1)
			if errors.Is(err, secret.ErrChanged) {
				return nil
			}
			won.Add(1)
			last.Store(int32(i))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if won.Load() != 1 {
		t.Fatalf("%d of 20 won, want 1", won.Load())
	}
	holds(t, target.Store, path, 2, content{"n": strconv.Itoa(int(last.Load()))})
}

func testDeleted(t testing.TB, target Target) {
	path := fresh()
	write(t, target.Store, path, content{"a": "1"}, 0)
	write(t, target.Store, path, content{"a": "2"}, 1)
	if err := target.Delete(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	now, err := target.Store.Read(t.Context(), path)
	is(t, "Read of a deleted secret", err, fs.ErrNotExist, fs.ErrPermission)
	if !now.Deleted || now.Version != 2 || now.Data != nil {
		t.Errorf("Read of a deleted secret = %+v; want version 2, deleted", now)
	}
	booked(t, target.Store, path, 2, secret.Deleted)
	is(t, "Readable of a deleted secret", secret.Readable(t.Context(), target.Store, path), fs.ErrNotExist)
	_, err = target.Store.Write(t.Context(), path, content{"a": "3"}, 0)
	is(t, "Write of a deleted secret as a new one", err, secret.ErrChanged)
	three := content{"a": "3"}
	same(t, "Write after the deletion", write(t, target.Store, path, three, 2), 3, three)
	holds(t, target.Store, path, 3, three)
}

func testOlder(t testing.TB, target Target) {
	path := fresh()
	one, two := content{"a": "1", "old": "yes"}, content{"a": "2"}
	write(t, target.Store, path, one, 0)
	write(t, target.Store, path, two, 1)
	for v, data := range map[int]content{1: one, 2: two} {
		now, err := target.Store.Version(t.Context(), path, v)
		if err != nil {
			t.Fatalf("Version %d = %v", v, err)
		}
		same(t, fmt.Sprintf("Version %d", v), now, v, data)
		booked(t, target.Store, path, 2, secret.Kept)
	}
	_, err := target.Store.Version(t.Context(), path, 3)
	is(t, "Version 3 of two", err, fs.ErrNotExist)
	b, err := target.Store.Book(t.Context(), path)
	if err != nil || b.State(1) != secret.Kept || b.State(3) != secret.Gone {
		t.Errorf("Book = %+v, %v; want version 1 kept, and no version 3", b, err)
	}
}

func testDelete(t testing.TB, target Target) {
	path := fresh()
	write(t, target.Store, path, content{"a": "1"}, 0)
	two := content{"a": "2"}
	write(t, target.Store, path, two, 1)
	if err := target.Store.MayDelete(t.Context(), path); err != nil {
		t.Errorf("MayDelete = %v", err)
	}
	drop := func(version int) {
		t.Helper()
		if err := target.Store.Delete(t.Context(), path, version); err != nil {
			t.Fatalf("Delete of version %d = %v", version, err)
		}
	}
	for range 2 {
		drop(1) // an older one: readers find the newer one still
		holds(t, target.Store, path, 2, two)
		now, err := target.Store.Version(t.Context(), path, 1)
		is(t, "Version 1, deleted", err, fs.ErrNotExist, fs.ErrPermission)
		if now.Data != nil {
			t.Errorf("Version 1, deleted, has %d keys", len(now.Data))
		}
	}
	if b, err := target.Store.Book(t.Context(), path); err != nil || b.State(1) != secret.Deleted {
		t.Errorf("Book = %+v, %v; want version 1 deleted", b, err)
	}
	drop(3) // nobody wrote it
	holds(t, target.Store, path, 2, two)
	drop(2)
	_, err := target.Store.Read(t.Context(), path)
	is(t, "Read of a deleted secret", err, fs.ErrNotExist, fs.ErrPermission)
	booked(t, target.Store, path, 2, secret.Deleted)
	drop(2)
	three := content{"a": "3"}
	same(t, "Write after the deletion", write(t, target.Store, path, three, 2), 3, three)
}

func testApart(t testing.TB, target Target) {
	one := fresh()
	others := []string{one + "/deeper", one + "s", strings.Replace(one, "lakehouse", "lakehouse2", 1)}
	write(t, target.Store, one, content{"is": one}, 0)
	for _, path := range others {
		_, err := target.Store.Read(t.Context(), path)
		is(t, "Read of "+path, err, fs.ErrNotExist)
		write(t, target.Store, path, content{"is": path}, 0)
	}
	for _, path := range append(others, one) {
		holds(t, target.Store, path, 1, content{"is": path})
	}
}

func testDenied(t testing.TB, target Target) {
	there, missing := fresh(), fresh()
	data := content{"endpoint": "east"}
	write(t, target.Store, there, data, 0)
	not := []error{fs.ErrNotExist, secret.ErrChanged, secret.ErrSealed, reach.ErrUnreachable}
	for _, path := range []string{there, missing} {
		now, err := target.Denied.Read(t.Context(), path)
		is(t, "Read by the denied", err, fs.ErrPermission, not...)
		if now.Data != nil || now.Version != 0 {
			t.Errorf("Read by the denied tells version %d and %d keys", now.Version, len(now.Data))
		}
		_, err = target.Denied.Book(t.Context(), path)
		is(t, "Book by the denied", err, fs.ErrPermission, not...)
		_, err = target.Denied.Version(t.Context(), path, 1)
		is(t, "Version by the denied", err, fs.ErrPermission, not...)
		is(t, "Delete by the denied", target.Denied.Delete(t.Context(), path, 1), fs.ErrPermission, not...)
		is(t, "MayDelete of the denied", target.Denied.MayDelete(t.Context(), path), fs.ErrPermission, not...)
		_, err = target.Denied.Write(t.Context(), path, content{"a": "b"}, 0)
		is(t, "Write by the denied", err, fs.ErrPermission, not...)
		is(t, "Readable by the denied", secret.Readable(t.Context(), target.Denied, path), fs.ErrPermission, not...)
	}
	if h, err := target.Denied.Health(t.Context()); err != nil || h.Serves() != nil {
		t.Errorf("Health for the denied = %v, %v; it needs no permission", h, err)
	}
	holds(t, target.Store, there, 1, data)
	booked(t, target.Store, missing, 0, secret.Gone)
}

// calls is everything that asks a store.
func calls(s secret.Store, path string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Read":     func(ctx context.Context) error { _, err := s.Read(ctx, path); return err },
		"Version":  func(ctx context.Context) error { _, err := s.Version(ctx, path, 1); return err },
		"Book":     func(ctx context.Context) error { _, err := s.Book(ctx, path); return err },
		"Delete":   func(ctx context.Context) error { return s.Delete(ctx, path, 1) },
		"Write":    func(ctx context.Context) error { _, err := s.Write(ctx, path, content{"a": "b"}, 0); return err },
		"Health":   func(ctx context.Context) error { _, err := s.Health(ctx); return err },
		"Readable": func(ctx context.Context) error { return secret.Readable(ctx, s, path) },
	}
}

func testSilent(t testing.TB, target Target) {
	var all sync.WaitGroup
	for name, call := range calls(target.Silent, fresh()) {
		all.Go(func() {
			began := time.Now()
			is(t, name, call(t.Context()), reach.ErrUnreachable, fs.ErrNotExist, fs.ErrPermission, secret.ErrChanged, secret.ErrSealed, secret.ErrNotServing)
			if d := time.Since(began); d > silence {
				t.Errorf("%s took %v to say so", name, d)
			}
		})
	}
	all.Wait()
}

func testSealed(t testing.TB, target Target) {
	path := fresh()
	data := content{"endpoint": "east"}
	write(t, target.Store, path, data, 0)
	if h, err := target.Store.Health(t.Context()); err != nil || !h.Initialized || h.Serves() != nil {
		t.Fatalf("Health = %v, %v; want one that serves", h, err)
	}
	if target.Seal == nil {
		return // it knows no such state
	}
	if err := target.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, err := target.Store.Health(t.Context())
	if err != nil || !h.Sealed {
		t.Errorf("Health of a sealed store = %v, %v; that is no error", h, err)
	}
	is(t, "Serves of a sealed store", h.Serves(), secret.ErrSealed)
	for name, call := range calls(target.Store, path) {
		if name != "Health" {
			is(t, name+" of a sealed store", call(t.Context()), secret.ErrSealed, fs.ErrNotExist, secret.ErrChanged, reach.ErrUnreachable)
		}
	}
	if err := target.Unseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds(t, target.Store, path, 1, data)
}

func testCancelled(t testing.TB, target Target) {
	path := fresh()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(target.Store, path) {
		err := call(ctx)
		is(t, name, err, context.Canceled, fs.ErrNotExist, secret.ErrChanged)
		if reach.Unreachable(err) {
			t.Errorf("%s: error %v reads as silence, and it was we who stopped asking", name, err)
		}
	}
	booked(t, target.Store, path, 0, secret.Gone)
}

func testHidden(t testing.TB, target Target) {
	path := fresh()
	data := content{"password": value}
	write(t, target.Store, path, content{"password": value, "old": true}, 0)
	fails := map[string]func() error{
		"a stale Write":       func() error { _, err := target.Store.Write(t.Context(), path, data, 99); return err },
		"a Write once more":   func() error { _, err := target.Store.Write(t.Context(), path, data, 0); return err },
		"Write by the denied": func() error { _, err := target.Denied.Write(t.Context(), path, data, 1); return err },
		"Write into silence":  func() error { _, err := target.Silent.Write(t.Context(), path, data, 1); return err },
		"Read by the denied":  func() error { _, err := target.Denied.Read(t.Context(), path); return err },
		"Read of a deleted secret": func() error {
			if err := target.Delete(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			_, err := target.Store.Read(t.Context(), path)
			return err
		},
	}
	for name, fail := range fails {
		err := fail()
		if err == nil {
			t.Errorf("%s is no error", name)
			continue
		}
		if strings.Contains(err.Error(), value) {
			t.Errorf("%s shows the content: %v", name, err)
		}
	}
}

func testGuide(t testing.TB, target Target) {
	one, other := fresh(), fresh()
	s := target.Store
	if name := s.Name(one); s.Address() == "" || !strings.Contains(name, one) || name == s.Name(other) {
		t.Errorf("Address %q, Name %q of %q", s.Address(), name, one)
	}
	if place := secret.Place(s, one); !strings.Contains(place, s.Address()) || !strings.Contains(place, s.Name(one)) {
		t.Errorf("Place = %q", place)
	}
	for _, state := range []secret.State{secret.Kept, secret.Deleted} {
		if hint := s.BringBack(one, 4711, state); !strings.Contains(hint, one) || !strings.Contains(hint, "4711") {
			t.Errorf("BringBack of what is %s = %q; want the secret and its version", state, hint)
		}
	}
	if s.BringBack(one, 1, secret.Kept) == s.BringBack(one, 1, secret.Deleted) {
		t.Error("BringBack tells no deleted version from one that is there")
	}
	for doing, hint := range map[string]string{"Remove": s.Remove(one), "Fill": s.Fill(one)} {
		if !strings.Contains(hint, one) {
			t.Errorf("%s = %q; want the secret in it", doing, hint)
		}
	}
	_, missing := s.Read(t.Context(), one)
	_, denied := target.Denied.Read(t.Context(), one)
	_, silent := target.Silent.Read(t.Context(), one)
	for guide, err := range map[secret.Guide]error{s: missing, target.Denied: denied, target.Silent: silent} {
		if err == nil || !strings.Contains(err.Error(), guide.Name(one)) || !strings.Contains(err.Error(), guide.Address()) {
			t.Errorf("error %v must name %s", err, secret.Place(guide, one))
		}
	}
}
