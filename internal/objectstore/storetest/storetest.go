// Package storetest is what package objectstore promises, as a test that every
// implementation passes by one line: see [Run]. Every trait that a store claims, and
// every role that it has, is tested.
package storetest

import (
	"crypto/rand"
	"errors"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/promise"
)

// Target is what the suite runs against.
type Target struct {
	// Store may do everything in Bucket, which keeps versions if the store claims that
	// it can, and may hold other things: the suite writes below a prefix of its own.
	Store  objectstore.Store
	Bucket string
	// Stranger is a principal that may do nothing in Bucket.
	Stranger objectstore.Store
	// Locked is a bucket with Object Lock, of a store that claims it. Something stays
	// there, held for a day.
	Locked string
	// Keys is how many keys the listing test makes: more than fit into two pages of the
	// store's.
	Keys int
}

// Run holds a store to every promise that it makes, each as a subtest.
func Run(t *testing.T, target Target) { suite(target.Store).Run(t, target) }

// suite is what a store promises, by its traits and roles.
func suite(s objectstore.Store) promise.Suite[Target] {
	has := s.Traits()
	all := promise.Suite[Target]{
		of("read what was written", testRoundTrip),
		of("odd keys", testKeys),
		of("missing", testMissing),
		of("a missing bucket", testMissingBucket),
		of("denied", testDenied),
		of("put if absent", testPutIfAbsent),
		of("put if match", testPutIfMatch),
		of("put from", testPutFrom),
		of("put from, over", testPutFromOver),
		of("race", testRace),
		of("copy", testCopy),
		of("read in parts", testReaderAt),
		of("listing", testList),
		of("listing from a key on", testSpan),
		of("delete", testDelete),
		of("delete many", testDeleteMany),
	}
	if has.Versions {
		all = append(all, of("versions", testVersions), of("a file is one version", testFile))
	}
	if has.DeleteMarkers {
		all = append(all, of("delete markers", testMarkers))
	}
	if _, can := s.(objectstore.Describer); can {
		all = append(all, of("describe", testDescribe))
	}
	if _, can := s.(objectstore.Duplicator); can {
		all = append(all, of("exact copies", testCopier))
	}
	if has.ConditionalCopy {
		all = append(all, of("conditional copies", testConditionalCopy))
	}
	if has.ConditionalDelete {
		all = append(all, of("conditional deletions", testConditionalDelete))
	}
	if has.ObjectLock {
		all = append(all, of("holds", testHolds))
	}
	return all
}

// of is a promise that is looked at below a prefix that nobody else uses.
func of(name string, test func(testing.TB, Target, objectstore.Bucket, string)) promise.Promise[Target] {
	return promise.Promise[Target]{Name: name, Check: func(t testing.TB, target Target) {
		t.Helper()
		test(t, target, objectstore.Bind(target.Store, target.Bucket), "storetest/"+rand.Text()+"/"+name+"/")
	}}
}

// is fails the test unless err has all of want and none of not in its chain.
func is(t testing.TB, doing string, err error, want []error, not ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s: got error %v, want %v in its chain", doing, err, w)
		}
	}
	for _, n := range not {
		if errors.Is(err, n) {
			t.Errorf("%s: error %v must not be %v", doing, err, n)
		}
	}
}

// ok ends the test at an error.
func ok(t testing.TB, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

func put(t testing.TB, b objectstore.Bucket, key, body string) objectstore.Object {
	t.Helper()
	o, err := b.Put(t.Context(), key, []byte(body))
	ok(t, "put "+key, err)
	return o
}

// reads fails the test unless a key reads as the text; empty for one that is not
// there.
func reads(t testing.TB, when string, b objectstore.Bucket, key, want string) {
	t.Helper()
	body, _, err := b.Get(t.Context(), key)
	if want == "" {
		is(t, when+": get "+key, err, missing)
	} else if err != nil || string(body) != want {
		t.Errorf("%s: Get(%s) = %q, %v; want %q", when, key, body, err, want)
	}
}
