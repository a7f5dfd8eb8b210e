// Package wan is a line between two regions: a TCP proxy with latency and a
// bandwidth that all its connections share, which can be cut and joined while
// it runs.
//
// Replication that crosses it lags as it does between real regions: small
// objects overtake large ones, because chunks of all connections take turns,
// and what has not crossed when the source dies is lost.
package wan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

const (
	chunk = 16 << 10 // bytes of one turn
	ahead = 64       // chunks of one connection and direction that may be under way
)

// Condition is how a line behaves at the moment.
type Condition struct {
	// Latency delays every byte, in each direction: half a round trip.
	Latency time.Duration `json:"latency"`
	// Out and Back are the bandwidths from the client to the target and back, in
	// bytes per second, shared by all connections; 0 is unlimited.
	Out  int64 `json:"out_bytes_per_second"`
	Back int64 `json:"back_bytes_per_second"`
	// Cut closes every connection and refuses new ones.
	Cut bool `json:"cut"`
}

// Route is one line.
type Route struct {
	Name      string    `json:"name"`
	Listen    string    `json:"listen"` // host:port that clients connect to
	Target    string    `json:"target"` // host:port behind it
	Condition Condition `json:"condition"`
}

// line is a route that runs.
type line struct {
	Route
	out, back *rate.Limiter

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newLine(r Route) *line {
	l := &line{
		Route: r,
		out:   rate.NewLimiter(rate.Inf, chunk),
		back:  rate.NewLimiter(rate.Inf, chunk),
		conns: map[net.Conn]struct{}{},
	}
	l.set(r.Condition)
	return l
}

// set changes the condition; connections that are open feel it at once.
func (l *line) set(c Condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Condition = c
	l.out.SetLimit(limit(c.Out))
	l.back.SetLimit(limit(c.Back))
	if c.Cut {
		for conn := range l.conns {
			conn.Close() //nolint:errcheck // a cut line answers nobody
		}
	}
}

func limit(bytesPerSecond int64) rate.Limit {
	if bytesPerSecond <= 0 {
		return rate.Inf
	}
	return rate.Limit(bytesPerSecond)
}

func (l *line) condition() Condition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Condition
}

// keep registers a connection so that a cut finds it; false if the line is cut.
func (l *line) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Condition.Cut {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *line) drop(c net.Conn) {
	c.Close() //nolint:errcheck // both ends are being given up
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// serve accepts until ctx ends.
func (l *line) serve(ctx context.Context, ln net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { ln.Close() }) //nolint:errcheck // it only ends Accept
	defer stop()
	g.Go(func() error {
		for {
			c, err := ln.Accept()
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("line %s: accept on %s: %w", l.Name, l.Listen, err)
			}
			g.Go(func() error { l.carry(ctx, c); return nil })
		}
	})
	return g.Wait()
}

// carry joins one client with the target until either end closes.
func (l *line) carry(ctx context.Context, client net.Conn) {
	defer l.drop(client)
	if !l.keep(client) {
		return
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	target, err := d.DialContext(ctx, "tcp", l.Target)
	if err != nil {
		return // the client sees a closed connection, as with a dead host behind a router
	}
	defer l.drop(target)
	if !l.keep(target) {
		return
	}
	stop := context.AfterFunc(ctx, func() { l.drop(client); l.drop(target) })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { l.pump(ctx, client, target, l.out) })
	both.Go(func() { l.pump(ctx, target, client, l.back) })
	both.Wait()
}

type parcel struct {
	data []byte
	due  time.Time
}

// pump moves bytes one way. Reading goes ahead of writing by the latency, so
// that delay does not cost bandwidth.
func (l *line) pump(ctx context.Context, from, to net.Conn, tokens *rate.Limiter) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parcels := make(chan parcel, ahead)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(parcels)
		for {
			buf := make([]byte, chunk)
			n, err := from.Read(buf)
			if n > 0 {
				select {
				case parcels <- parcel{buf[:n], time.Now().Add(l.condition().Latency)}:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	err := deliver(ctx, parcels, to, tokens)
	if err != nil { // this direction is dead, so is the other
		from.Close() //nolint:errcheck // see above
		to.Close()   //nolint:errcheck // see above
	} else if half, ok := to.(*net.TCPConn); ok {
		half.CloseWrite() //nolint:errcheck // the peer may have closed already
	}
	cancel()
	reader.Wait()
}

func deliver(ctx context.Context, parcels <-chan parcel, to io.Writer, tokens *rate.Limiter) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p := range parcels {
		timer.Reset(time.Until(p.due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := tokens.WaitN(ctx, len(p.data)); err != nil {
			return err
		}
		if _, err := to.Write(p.data); err != nil {
			return err
		}
	}
	return nil
}

// Serve carries all routes, and answers on control (host:port) to [Set] and
// [Get], until ctx ends. It has opened every port when ready is closed.
func Serve(ctx context.Context, control string, routes []Route, ready chan<- struct{}) error {
	lines := make(map[string]*line, len(routes))
	g, ctx := errgroup.WithContext(ctx)
	var listen net.ListenConfig
	for _, r := range routes {
		if lines[r.Name] != nil {
			return fmt.Errorf("two lines are named %s", r.Name)
		}
		ln, err := listen.Listen(ctx, "tcp", r.Listen)
		if err != nil {
			return fmt.Errorf("line %s: %w", r.Name, err)
		}
		l := newLine(r)
		lines[r.Name] = l
		g.Go(func() error { return l.serve(ctx, ln) })
	}
	ln, err := listen.Listen(ctx, "tcp", control)
	if err != nil {
		return fmt.Errorf("control of the lines: %w", err)
	}
	g.Go(func() error { return serveControl(ctx, ln, lines) })
	if ready != nil {
		close(ready)
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
