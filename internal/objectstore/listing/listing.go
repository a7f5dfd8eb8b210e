// Package listing walks everything below some prefixes of a bucket, or of a bucket and
// its copy side by side: all versions of every key. It only reads.
//
// A listing comes a page after the other, and a very long one takes hours so. So the keys
// are cut into ranges, which are walked side by side. How the keys lie is not known
// before they are seen, and folders tell little: one may have half of them all, and none
// has a hundred million. So nothing is cut beforehand. Whoever has nothing to do cuts what
// somebody else has been walking for the longest, at a key, with all of its versions on
// one side of the cut, and in all buckets at the same one. What is short is never cut.
//
// Memory holds a page or two of each bucket for each range that is walked, whatever
// there is. A range in which the store stops answering is taken up again where it was. And
// the [State] of a walk is all that another needs to go on with what is left.
package listing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/poll"

	"golang.org/x/sync/errgroup"
)

// AtOnce is how many requests a walk has under way at most.
const AtOnce = 32

// A range that has shown so many keys may be cut: in a shorter one, looking for a place
// would cost as much as walking to its end.
const worthCutting = 4000

// said is after how many keys a walk tells of its progress.
const said = 10_000

// A range in which the store failed to answer is taken up again so often in a row. The
// wait before it doubles each time.
const (
	attempts  = 4
	firstWait = time.Second
)

// Key is what every bucket holds of a key: all versions and delete markers, the newest
// first; nothing where it never had it.
type Key [2][]objectstore.Version

// Name is the key itself.
func (k Key) Name() string {
	if len(k[0]) > 0 {
		return k[0][0].Key
	}
	return k[1][0].Key
}

// Range is the keys that start with a prefix, after one and up to another.
type Range struct {
	Prefix string `json:"prefix"`
	After  string `json:"after,omitempty"` // the last key that does not belong; empty for none
	Until  string `json:"until,omitempty"` // the last key that does; empty for the prefix's last
}

// State is how far a walk has come: what is left, and the sum of what was looked at.
type State[R any] struct {
	Left []Range `json:"left"`
	Keys int64   `json:"keys"`
	Sum  R       `json:"sum"`
}

// Below is the state of a walk that has not begun.
func Below[R any](prefixes ...string) State[R] {
	var s State[R]
	for _, p := range prefixes {
		s.Left = append(s.Left, Range{Prefix: p})
	}
	return s
}

// Walk looks at every key.
type Walk[R any] struct {
	// Buckets are one or two. The first is asked first: what is written between the two
	// listings is in the second one's, if anywhere.
	Buckets []objectstore.Bucket
	// Look looks at some keys, one after the other in their order. It is called for
	// other keys at the same time, for each key once, and must not keep the slices. An
	// error ends the walk.
	Look func(ctx context.Context, keys []Key) (R, error)
	// Add adds what was found to the sum, one at a time, in no order.
	Add func(sum *R, part R)
	// Progress is told now and then how far the walk is. The sum is the walk's own, and
	// not to be kept. It may be nil.
	Progress func(State[R])
	// AtOnce is how many requests may be under way; the package's own when zero.
	AtOnce int
}

// BucketError says with which bucket, of [Walk.Buckets], something went wrong. Its text is
// the error's own.
type BucketError struct {
	Bucket int
	err    error
}

// Error is the text of what went wrong.
func (e *BucketError) Error() string { return e.err.Error() }

// Unwrap is what went wrong.
func (e *BucketError) Unwrap() error { return e.err }

// Do walks what is left, and returns the sum. An error is a [BucketError], one of Look's,
// or the end of the context.
func (w Walk[R]) Do(ctx context.Context, s State[R]) (R, error) {
	if w.AtOnce == 0 {
		w.AtOnce = AtOnce
	}
	r := &run[R]{Walk: w, state: s, told: s.Keys}
	r.changed.L = &r.mu
	work, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, r.wake)()
	for range w.AtOnce {
		work.Go(func() error { return r.work(ctx) })
	}
	err := work.Wait()
	if err == nil && r.Progress != nil {
		r.Progress(r.now())
	}
	return r.state.Sum, err
}

// run is a walk under way.
type run[R any] struct {
	Walk[R]
	mu      sync.Mutex
	changed sync.Cond // something is left to do, or to cut, or nothing ever again
	state   State[R]  // Left is what nobody walks
	busy    []*part   // what somebody walks
	idle    int       // who has nothing to do
	told    int64     // keys, at the last progress
	// answered: a store that never did is not waited for.
	answered [2]bool
}

// part is a range that somebody walks.
type part struct {
	Range          // After moves: what is up to it is in the sum
	taken   string // what is up to it is looked at, or was
	keys    int64  // since it was begun, or cut
	next    int64  // how many there must be before it is cut
	cutting bool   // somebody is at it
	seen    [2]int64
}

func (r *run[R]) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed.Broadcast()
}

// now is how far the walk is.
func (r *run[R]) now() State[R] {
	s := r.state
	s.Left = append([]Range(nil), s.Left...)
	for _, p := range r.busy {
		s.Left = append(s.Left, p.Range)
	}
	return s
}

func (r *run[R]) work(ctx context.Context) error {
	for {
		p, err := r.take(ctx)
		if p == nil || err != nil {
			return err
		}
		if err := r.walk(ctx, p); err != nil {
			return err
		}
		r.mu.Lock()
		for i := range r.busy {
			if r.busy[i] == p {
				r.busy = append(r.busy[:i], r.busy[i+1:]...)
				break
			}
		}
		r.changed.Broadcast()
		r.mu.Unlock()
	}
}

// take waits for a range that nobody walks, and makes one where it can. It returns none
// when everything was walked.
func (r *run[R]) take(ctx context.Context) (*part, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if n := len(r.state.Left); n > 0 {
			p := &part{Range: r.state.Left[0], next: worthCutting}
			p.taken = p.After
			r.state.Left, r.busy = r.state.Left[1:], append(r.busy, p)
			return p, nil
		}
		if len(r.busy) == 0 {
			return nil, nil
		}
		if p := r.longest(); p != nil {
			p.cutting = true
			of, b := Range{p.Prefix, p.taken, p.Until}, r.Buckets[0]
			if p.seen[1] > p.seen[0] {
				b = r.Buckets[1]
			}
			pieces := r.idle + 2
			r.mu.Unlock()
			at, err := cuts(ctx, b, of, pieces)
			r.mu.Lock()
			p.cutting = false
			r.divide(p, at, err)
			continue
		}
		r.idle++
		r.changed.Wait()
		r.idle--
	}
}

// longest is what has been walked for the longest since it was begun or cut, of what is
// worth cutting: it is likely to go on for the longest.
func (r *run[R]) longest() *part {
	var p *part
	for _, b := range r.busy {
		if !b.cutting && b.keys >= b.next && (p == nil || b.keys > p.keys) {
			p = b
		}
	}
	return p
}

// divide cuts a range, as far as it has not come meanwhile. Where that cannot be done, it
// is left alone until it has shown twice as much.
func (r *run[R]) divide(p *part, at []string, err error) {
	var good []string
	for _, c := range at {
		if err == nil && c > p.taken && (p.Until == "" || c < p.Until) {
			good = append(good, c)
		}
	}
	if len(good) == 0 {
		p.next = 2 * p.keys
		return
	}
	for i, c := range good {
		next := Range{p.Prefix, c, p.Until}
		if i+1 < len(good) {
			next.Until = good[i+1]
		}
		r.state.Left = append(r.state.Left, next)
	}
	p.Until, p.keys, p.next = good[0], 0, worthCutting
	r.changed.Broadcast()
}

// walk walks a range, and takes it up again where the store stops answering.
func (r *run[R]) walk(ctx context.Context, p *part) error {
	for failed := 0; ; {
		from := p.After
		err := r.pass(ctx, p)
		var at *BucketError
		if err == nil || !errors.As(err, &at) || !transient(err) {
			return err
		}
		r.mu.Lock()
		alive := r.answered[at.Bucket]
		r.mu.Unlock()
		if p.After != from {
			failed = 0
		}
		if failed++; !alive || failed >= attempts {
			return err
		}
		if ended := poll.Wait(ctx, firstWait<<(failed-1)); ended != nil {
			return err
		}
	}
}

// transient tells what may be cured by asking again.
func transient(err error) bool {
	for _, final := range []error{
		context.Canceled, context.DeadlineExceeded, fs.ErrPermission, fs.ErrNotExist, objectstore.ErrNoBucket, objectstore.ErrKey, objectstore.ErrLacks, errOrder,
	} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// pass walks what is left of a range.
func (r *run[R]) pass(ctx context.Context, p *part) error {
	var all []*bucket
	for i, b := range r.Buckets {
		s := open(ctx, b, i, objectstore.Span{Prefix: p.Prefix, After: p.After})
		defer s.close()
		all = append(all, s)
	}
	var keys []Key
	for {
		r.mu.Lock()
		until := p.Until
		r.mu.Unlock()
		keys = keys[:0]
		var wants *bucket // cannot go on without a page
		for wants == nil {
			k, lacking := next(all, until)
			if wants = lacking; wants == nil && k == (head{}) {
				_, err := r.look(ctx, p, keys)
				return err
			}
			if wants == nil {
				keys = append(keys, take(all, k))
			}
		}
		if over, err := r.look(ctx, p, keys); over || err != nil {
			return err
		}
		if err := wants.more(); err != nil {
			return &BucketError{wants.number, err}
		}
		r.mu.Lock()
		r.answered[wants.number] = true
		r.mu.Unlock()
	}
}

// look looks at keys, as far as nobody has cut the range before them. It is over where
// somebody has.
func (r *run[R]) look(ctx context.Context, p *part, keys []Key) (over bool, err error) {
	r.mu.Lock()
	for n := range keys {
		if p.Until != "" && keys[n].Name() > p.Until {
			keys, over = keys[:n], true
			break
		}
	}
	if len(keys) > 0 {
		p.taken = keys[len(keys)-1].Name()
	}
	r.mu.Unlock()
	if len(keys) == 0 {
		return over, nil
	}
	found, err := r.Look(ctx, keys)
	if err != nil {
		return over, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Add(&r.state.Sum, found)
	r.state.Keys += int64(len(keys))
	p.After = p.taken
	p.keys += int64(len(keys))
	for _, k := range keys {
		p.seen[0], p.seen[1] = p.seen[0]+int64(len(k[0])), p.seen[1]+int64(len(k[1]))
	}
	if r.Progress != nil && r.state.Keys-r.told >= said {
		r.told = r.state.Keys
		r.Progress(r.now())
	}
	if r.idle > 0 && p.keys >= p.next {
		r.changed.Broadcast()
	}
	return over, nil
}

// errOrder is a listing from which nothing can be concluded.
var errOrder = errors.New("the store does not list keys in the order of their bytes, or not from where it was asked to; nothing can be concluded from this listing")

func disorder(b objectstore.Bucket, before, key string) error {
	return fmt.Errorf("list versions of %s: %q comes after %q: %w", b.URL(""), key, before, errOrder)
}
