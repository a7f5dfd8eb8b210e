// Package traffic is the laboratory's load: writers of Delta tables, Kafka
// producers and consumers, and the pipelines that Temporal schedules.
//
// Everything that a server acknowledges goes into the oracle's journal
// ([breakwater/lab/oracle]), and every attempt goes there before it is sent. No
// table and no topic ever takes more per second than its declared peak, all
// writers together: traffic has three quarters of it, the pipelines a quarter.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"breakwater/internal/poll"
	"breakwater/internal/reach"
	"breakwater/lab/oracle"
)

// Shares of a declared peak.
const (
	ShareOfTraffic   = 0.75
	ShareOfPipelines = 0.25
)

// Store is an object store as one principal sees it.
type Store struct {
	Endpoint, Region     string
	AccessKey, SecretKey string
}

// Table is a table that is written to.
type Table struct {
	Name     string
	Bucket   string
	Path     string  // prefix in the bucket
	PeakRows float64 // per second, as declared in the estate
	Store    Store   // as the group's writer
}

// Topic is a topic, and the group that consumes it.
type Topic struct {
	Name          string
	ConsumerGroup string
	PeakMessages  float64 // per second, as declared in the estate
	Odd           Odd
}

// Kafka is a region's broker.
type Kafka struct {
	Broker             string
	Admin              string // without a login, for what is odd
	Producer, Consumer Login
}

// Login is a SASL/PLAIN user.
type Login struct{ User, Password string }

// Region is one region's traffic.
type Region struct {
	Name   string
	Tables []Table
	Topics []Topic
	Kafka  Kafka
}

// Options say how much is written; zero values take the defaults in brackets.
type Options struct {
	Commits    float64 // per second and table [3]
	Rows       int     // per commit [20]
	LargeEvery int     // one commit in so many has a large data file, -1 for none [4]
	LargeBytes int     // about the size of a large data file [640 KB]
	Messages   float64 // per second and topic [40]
	// Patience is how long a server may not answer before its region counts as
	// dead and what writes there stops [2 s].
	Patience time.Duration
	// Now brings about what is odd about the topics, with its first signal.
	Now <-chan os.Signal
}

func (o Options) filled() Options {
	fill := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	fill(&o.Commits, 3)
	fill(&o.Messages, 40)
	if o.Rows == 0 {
		o.Rows = 20
	}
	if o.LargeEvery == 0 {
		o.LargeEvery = 4
	}
	if o.LargeBytes == 0 {
		o.LargeBytes = 640 << 10
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Second
	}
	return o
}

// Summary is what a run of traffic did.
type Summary struct {
	Region   string   `json:"region"`
	Commits  int64    `json:"commits"` // acknowledged
	Rows     int64    `json:"rows"`
	Messages int64    `json:"messages"`
	Consumed int64    `json:"consumed"` // messages processed by the consumers
	Refused  int64    `json:"refused"`  // commits and messages that the region denied
	Dead     []string `json:"dead,omitempty"`
	Errors   []string `json:"errors,omitempty"` // other failures, a few of them
}

// counts is a summary under construction.
type counts struct {
	commits, rows, messages, consumed, refused atomic.Int64

	mu           sync.Mutex
	dead, errors []string
}

func (c *counts) died(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = append(c.dead, what)
}

func (c *counts) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errors) < 10 {
		c.errors = append(c.errors, err.Error())
	}
}

func (c *counts) summary(region string) Summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Summary{
		Region: region, Commits: c.commits.Load(), Rows: c.rows.Load(), Messages: c.messages.Load(),
		Consumed: c.consumed.Load(), Refused: c.refused.Load(), Dead: c.dead, Errors: c.errors,
	}
}

// Run writes and consumes until ctx ends or the region is dead, and then says
// what it did. It returns an error only if it could not start or the journal
// failed; a dead region is an ordinary end.
func Run(ctx context.Context, r Region, j *oracle.Journal, o Options) (Summary, error) {
	o = o.filled()
	c := &counts{}
	var loops, happens []func(context.Context) error
	for _, t := range r.Tables {
		w, err := createTable(ctx, r.Name, t, ShareOfTraffic, j)
		if err != nil {
			return Summary{Region: r.Name}, err
		}
		loops = append(loops, func(ctx context.Context) error { return w.run(ctx, o, c) })
	}
	for _, t := range r.Topics {
		p, err := openProducer(r, t, j)
		if err != nil {
			return Summary{Region: r.Name}, err
		}
		defer p.close()
		q, err := openConsumer(r, t, j)
		if err != nil {
			return Summary{Region: r.Name}, err
		}
		defer q.close()
		loops = append(loops,
			func(ctx context.Context) error { return p.run(ctx, o, c) },
			func(ctx context.Context) error { return q.run(ctx, o, c) })
		if t.Odd != (Odd{}) {
			happens = append(happens, func(ctx context.Context) error { return (&odd{p, q, r}).happen(ctx) })
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(loops))
	var wg sync.WaitGroup
	for i, loop := range loops {
		wg.Go(func() {
			if errs[i] = loop(ctx); errs[i] != nil {
				cancel() // the journal failed: nothing that follows would count
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		bringAbout(ctx, o.Now, happens, c)
	}()
	wg.Wait()
	cancel()
	<-ended
	return c.summary(r.Name), errors.Join(errs...)
}

// bringAbout lets things happen at a signal, until ctx ends.
func bringAbout(ctx context.Context, now <-chan os.Signal, happens []func(context.Context) error, c *counts) {
	select {
	case <-ctx.Done():
		return
	case <-now:
	}
	var wg sync.WaitGroup
	for _, happen := range happens {
		wg.Go(func() {
			if err := happen(ctx); err != nil && ctx.Err() == nil {
				c.failed(err)
			}
		})
	}
	wg.Wait()
}

// Seed makes the tables, and appends rows to each and messages to each topic,
// under the declared peaks. What was seeded before stays.
func Seed(ctx context.Context, r Region, j *oracle.Journal, rows, messages int) (Summary, error) {
	c := &counts{}
	var wg sync.WaitGroup
	errs := make([]error, len(r.Tables)+len(r.Topics))
	for i, t := range r.Tables {
		wg.Go(func() {
			w, err := createTable(ctx, r.Name, t, ShareOfTraffic, j)
			if err == nil {
				err = w.seed(ctx, rows, c)
			}
			errs[i] = err
		})
	}
	for i, t := range r.Topics {
		wg.Go(func() {
			p, err := openProducer(r, t, j)
			if err == nil {
				defer p.close()
				err = p.seed(ctx, messages, c)
			}
			errs[len(r.Tables)+i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return c.summary(r.Name), fmt.Errorf("seed %s: %w", r.Name, err)
	}
	return c.summary(r.Name), nil
}

// pace spaces out writes so that from any write on, no more follows than the
// rate allows: n units may be written only n/rate after what was before.
type pace struct {
	mu   sync.Mutex
	rate float64 // units per second
	free time.Time
}

// wait returns when n units may be written.
func (p *pace) wait(ctx context.Context, n int) error {
	p.mu.Lock()
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	until := p.free
	p.mu.Unlock()
	return poll.Wait(ctx, time.Until(until))
}

// pulse tells a server that is away for a moment from one that is dead.
type pulse struct {
	patience time.Duration
	since    time.Time // of the first failure in a row; zero if it answered last
}

func (p *pulse) answered() { p.since = time.Time{} }

// silent notes a failure to answer, and reports whether patience is at its end.
func (p *pulse) silent() bool { return p.silentSince(time.Now()) }

// silentSince is silent for a request that was sent at a moment.
func (p *pulse) silentSince(sent time.Time) bool {
	if p.since.IsZero() {
		p.since = sent
	}
	return time.Since(p.since) >= p.patience
}

// kind sorts a failed write.
type kind int

const (
	other kind = iota
	unreachable
	denied
)

func kindOf(err error) kind {
	switch {
	case reach.Unreachable(err):
		return unreachable
	case errors.Is(err, fs.ErrPermission):
		return denied
	}
	return other
}
