// Package promise is how the conformance suite of a port is written, run and kept
// honest.
//
// A suite is a list of promises, each with a name and a check. An implementation
// of the port passes with [Suite.Run], where each promise is a subtest.
//
// A suite that nothing fails proves nothing. So beside each suite stand broken
// implementations, each of which is right but for one thing, and [Suite.Honest]
// demands that the suite fails each of them by the name of that thing, and that
// every promise is broken by one of them.
package promise

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Promise is one thing that a port promises of a T, which is whatever its suite
// runs against.
type Promise[T any] struct {
	Name string // a short sentence, such as "a stale write changes nothing"
	// Check fails the test where the promise is not kept. It calls FailNow and the
	// like from its own goroutine only, and it never waits for ever: a broken
	// implementation may not answer.
	Check func(t testing.TB, target T)
}

// Suite is what a port promises.
type Suite[T any] []Promise[T]

// Run checks every promise, in the order of the suite, each as a subtest.
func (s Suite[T]) Run(t *testing.T, target T) {
	t.Helper()
	if len(s) == 0 {
		t.Fatal("the suite promises nothing")
	}
	for _, p := range s {
		t.Run(p.Name, func(t *testing.T) { p.Check(t, target) })
	}
}

// Broken is an implementation that is right but for one thing.
type Broken[T any] struct {
	Name   string // what it does wrong
	Breaks string // the name of the promise that it breaks
	Target func(t testing.TB) T
}

// Honest runs every broken implementation through the suite, each as a subtest,
// and fails where one of them keeps the promise that it is meant to break, or
// where a promise is broken by none of them.
func (s Suite[T]) Honest(t *testing.T, broken []Broken[T]) {
	t.Helper()
	for _, b := range broken {
		t.Run(b.Name, func(t *testing.T) {
			said := s.failures(t, b.Target(t))
			for _, p := range s {
				if why, failed := said[p.Name]; failed {
					t.Logf("fails %q: %s", p.Name, strings.Join(why, "; "))
				}
			}
			if complaint := s.kept(b.Breaks, said); complaint != "" {
				t.Error(complaint)
			}
		})
	}
	for _, name := range s.unbroken(broken) {
		t.Errorf("no broken implementation breaks %q: nothing shows that its check can fail", name)
	}
}

// kept complains if the promise of that name is not among those that failed.
func (s Suite[T]) kept(name string, said map[string][]string) string {
	if !slices.ContainsFunc(s, func(p Promise[T]) bool { return p.Name == name }) {
		return fmt.Sprintf("the suite has no promise %q", name)
	}
	if _, failed := said[name]; !failed {
		return fmt.Sprintf("it passes %q, which it breaks", name)
	}
	return ""
}

// unbroken are the promises that none of the implementations breaks.
func (s Suite[T]) unbroken(broken []Broken[T]) []string {
	var names []string
	for _, p := range s {
		if !slices.ContainsFunc(broken, func(b Broken[T]) bool { return b.Breaks == p.Name }) {
			names = append(names, p.Name)
		}
	}
	return names
}

// failures checks every promise without failing t, and returns what each failed
// one said, by its name.
func (s Suite[T]) failures(t testing.TB, target T) map[string][]string {
	said := map[string][]string{}
	for _, p := range s {
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() { // of its own, which FailNow ends
			defer close(done)
			p.Check(r, target)
		}()
		<-done
		if r.Failed() {
			said[p.Name] = r.said
		}
	}
	return said
}

// recorder is a test that keeps its failures to itself.
type recorder struct {
	testing.TB // gives folders, contexts and what is done at the end
	mu         sync.Mutex
	failed     bool
	said       []string
}

func (r *recorder) Helper() {}

func (r *recorder) Log(args ...any) { r.say(false, fmt.Sprintln(args...)) }

func (r *recorder) Logf(format string, args ...any) { r.say(false, fmt.Sprintf(format, args...)) }

func (r *recorder) Error(args ...any) { r.say(true, fmt.Sprintln(args...)) }

func (r *recorder) Errorf(format string, args ...any) { r.say(true, fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.say(true, fmt.Sprintln(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.say(true, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) Fail() { r.say(true, "") }

func (r *recorder) FailNow() {
	r.say(true, "")
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) say(failed bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	if text = strings.TrimSpace(text); text != "" {
		r.said = append(r.said, text)
	}
}
