// Package storetest is what package objectstore promises, as a test that every
// implementation passes by one line: see [Run]. Every trait that a store claims, and
// every role that it has, is tested.
package storetest

import (
	"crypto/rand"
	"errors"
	"testing"

	"breakwater/internal/objectstore"
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

// Run runs the suite: one subtest for each promise that the store makes.
func Run(t *testing.T, target Target) {
	for _, p := range promises {
		if p.made(target.Store) {
			t.Run(p.name, func(t *testing.T) { p.run(t, target) })
		}
	}
}

// promise is one thing that the port promises.
type promise struct {
	name string
	test func(testing.TB, Target, objectstore.Bucket, string)
	// by says whose promise it is; nil for every store's.
	by func(objectstore.Store) bool
}

func (p promise) made(s objectstore.Store) bool { return p.by == nil || p.by(s) }

// run holds a store to the promise, below a prefix that nobody else uses.
func (p promise) run(t testing.TB, target Target) {
	t.Helper()
	p.test(t, target, objectstore.Bind(target.Store, target.Bucket), "storetest/"+rand.Text()+"/"+p.name+"/")
}

var promises = []promise{
	{"read what was written", testRoundTrip, nil},
	{"odd keys", testKeys, nil},
	{"missing", testMissing, nil},
	{"a missing bucket", testMissingBucket, nil},
	{"denied", testDenied, nil},
	{"put if absent", testPutIfAbsent, nil},
	{"put if match", testPutIfMatch, nil},
	{"put from", testPutFrom, nil},
	{"race", testRace, nil},
	{"copy", testCopy, nil},
	{"read in parts", testReaderAt, nil},
	{"listing", testList, nil},
	{"delete", testDelete, nil},
	{"delete many", testDeleteMany, nil},
	{"versions", testVersions, versions},
	{"a file is one version", testFile, versions},
	{"delete markers", testMarkers, func(s objectstore.Store) bool { return s.Traits().DeleteMarkers }},
	{"describe", testDescribe, has[objectstore.Describer]},
	{"exact copies", testCopier, has[objectstore.Duplicator]},
	{"conditional copies", testConditionalCopy, func(s objectstore.Store) bool { return s.Traits().ConditionalCopy }},
	{"holds", testHolds, func(s objectstore.Store) bool { return s.Traits().ObjectLock }},
}

func versions(s objectstore.Store) bool { return s.Traits().Versions }

func has[Role any](s objectstore.Store) bool {
	_, ok := s.(Role)
	return ok
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
