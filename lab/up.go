package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	labkafka "breakwater/lab/kafka"
)

// Up starts what does not run, furnishes what was not furnished yet, and writes
// the estate. It may be called again at any time: what runs is left alone, and
// what a failover changed stays changed. Cancelled, it leaves what it started
// running, for Down or another Up.
func (l *Lab) Up(ctx context.Context) error {
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.state.read(l.path("lab.json")); errors.Is(err, fs.ErrNotExist) {
		l.state.init(l.path("lab.json"))
	} else if err != nil {
		return err
	}
	if err := l.start(ctx, []string{Primary, Standby, Third}); err != nil {
		return err
	}
	return l.writeEstate() // not when something is healed: by then the estate is people's
}

// start starts the servers of some places, side by side, and furnishes them.
func (l *Lab) start(ctx context.Context, places []string) error {
	began := time.Now()
	bins, err := binaries()
	if err != nil {
		return err
	}
	jars, err := labkafka.Jars()
	if err != nil {
		return err
	}
	if err := l.prepare(); err != nil {
		return err
	}
	if err := l.makePolicies(); err != nil {
		return err
	}
	here := func(place string) bool { return slices.Contains(places, place) }
	g, gctx := errgroup.WithContext(ctx)
	if here(Third) {
		g.Go(func() error {
			if err := l.startTemporal(gctx, bins["temporal-lab"]); err != nil {
				return err
			}
			return l.once("schedules", func() error { return l.furnishTemporal(gctx) })
		})
		g.Go(func() error {
			if err := l.startMinIO(gctx, bins["minio"], Third); err != nil {
				return err
			}
			return l.once("ledger", func() error { return l.furnishLedger(gctx) })
		})
	}
	g.Go(func() error { return l.startObjects(gctx, bins["minio"], here) })
	g.Go(func() error { return l.startKafka(gctx, bins["bao-lab"], jars, here) })
	if err := g.Wait(); err != nil {
		return err
	}
	if l.allRun(Primary) && l.allRun(Standby) {
		if err := l.cut(ctx, false); err != nil {
			return err
		}
	}
	if err := l.once("replication", func() error { return l.replicate(ctx) }); err != nil {
		return err
	}
	if err := l.once("mirror", func() error { return l.furnishMirror(ctx) }); err != nil {
		return err
	}
	if l.allRun(Standby) { // Connect is there
		if err := l.rejoinMirror(ctx); err != nil {
			return err
		}
	}
	if here(Third) {
		// It writes to the tables: everything else must be there.
		if err := l.startChild(ctx, "pipelines", func(ctx context.Context) error { return ctx.Err() }); err != nil {
			return err
		}
	}
	l.say("up in %.1f s: estate %s, Temporal's UI %s", time.Since(began).Seconds(), l.EstateFile(), l.UI())
	return nil
}

// prepare fixes what must be the same for ever: ports, credentials, keys.
func (l *Lab) prepare() error {
	names, width := ports()
	for _, user := range []string{rootUser, adminUser, recoveryUser, replicatorUser} {
		l.secret(Primary, user)
		l.secret(Standby, user)
	}
	for _, g := range groups() {
		for _, region := range Regions() {
			l.secret(region, g.reader())
			l.secret(region, g.writer())
		}
	}
	l.secret(Third, rootUser)
	l.secret(Third, ledgerUser)
	l.secret("kafka", producerUser)
	l.secret("kafka", consumerUser)
	if err := l.reserve(names, width); err != nil { // writes the secrets too
		return err
	}
	return l.makeKeys()
}

// startObjects starts the regions' object stores, and joins them once.
func (l *Lab) startObjects(ctx context.Context, bin string, here func(string) bool) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, region := range Regions() {
		if !here(region) {
			continue
		}
		g.Go(func() error {
			if err := l.startMinIO(ctx, bin, region); err != nil {
				return err
			}
			return l.once("objects "+region, func() error { return l.furnishRegion(ctx, region) })
		})
	}
	return g.Wait()
}

// startKafka starts the brokers, the line between the regions, Connect, and,
// since the secrets name the brokers, OpenBao; then it joins the object stores,
// which need the line.
func (l *Lab) startKafka(ctx context.Context, bao, jars string, here func(string) bool) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, region := range Regions() {
		if !here(region) {
			continue
		}
		g.Go(func() error {
			b, err := l.startBroker(gctx, jars, region)
			if err != nil {
				return err
			}
			return l.once("broker "+region, func() error { return l.furnishBroker(gctx, b) })
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	g, gctx = errgroup.WithContext(ctx)
	if here(Third) {
		g.Go(func() error {
			return l.startChild(gctx, "wan", func(ctx context.Context) error {
				_, err := l.Line(ctx, LineObjects)
				return err
			})
		})
	}
	for _, region := range Regions() {
		if !here(region) {
			continue
		}
		g.Go(func() error {
			if err := l.startBao(gctx, bao, region); err != nil {
				return err
			}
			return l.once("secrets "+region, func() error { return l.furnishBao(gctx, region) })
		})
	}
	if here(Standby) {
		g.Go(func() error { return l.startConnect(gctx, jars) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return nil
}

// allRun reports whether every process of a region runs.
func (l *Lab) allRun(region string) bool {
	for _, s := range l.parts() {
		if s.place == region && !s.process().Running() {
			return false
		}
	}
	return true
}
