package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab"
	"breakwater/lab/oracle"
	"breakwater/lab/server"
	"breakwater/lab/wan"
)

// onePartedIn is of how many disasters one parts the primary from everybody else, who
// cannot tell that from its death, in place of killing it.
const onePartedIn = 6

// lines are what the product reaches the primary through, where that is to be parted.
type lines struct {
	cut  context.CancelFunc
	done <-chan error
}

// throughLines puts lines between the product and the primary, before a worker reads the
// estate. Who writes in the primary does not use them.
func (d *disaster) throughLines() error {
	e, err := d.Estate()
	if err != nil {
		return err
	}
	east, err := e.RegionNamed(lab.Primary)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(d.Lab.EstateFile())
	if err != nil {
		return err
	}
	port, err := server.Ports(3, nil)
	if err != nil {
		return err
	}
	estate := string(text)
	var routes []wan.Route
	for i, url := range []string{east.Storage.Endpoint, east.Vault.Address} {
		at := strings.TrimPrefix(url, "http://")
		routes = append(routes, wan.Route{Name: fmt.Sprint(i), Listen: server.Address(port + i), Target: at})
		estate = strings.ReplaceAll(estate, at, server.Address(port+i))
	}
	// A broker says itself where to go on: only that of the mirror is a line.
	estate = strings.ReplaceAll(estate, d.Lab.KafkaAdmin(lab.Primary), d.Lab.MirrorVia())
	ctx, cancel := context.WithCancel(context.WithoutCancel(d.t.Context()))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- wan.Serve(ctx, server.Address(port+2), routes, ready) }()
	d.lines = &lines{cancel, done}
	d.t.Cleanup(func() { d.unplug() }) //nolint:errcheck // reported where it matters
	select {
	case err := <-done:
		return errors.Join(errors.New("the lines did not open"), err)
	case <-ready:
	}
	return os.WriteFile(d.Lab.EstateFile(), []byte(estate), 0o600)
}

// unplug takes the product's lines to the primary away.
func (d *disaster) unplug() error {
	if d.lines == nil {
		return nil
	}
	l := d.lines
	d.lines = nil
	l.cut()
	return <-l.done
}

// part cuts every line to the primary. It lives on, and acknowledges writes.
func (d *disaster) part(ctx context.Context) error {
	errs := []error{d.unplug()}
	for _, name := range []string{lab.LineObjects, lab.LineKafka} {
		errs = append(errs, d.Lab.SetLine(ctx, name, wan.Condition{Cut: true}))
	}
	return errors.Join(errs...)
}

// livedOn holds what a run says against a primary that acknowledged writes all the time:
// nothing that it claims has an upper bound, no objective counts as met, and it owes the
// true numbers. The traffic must have ended.
func (d *disaster) livedOn() error {
	e, err := d.Estate()
	if err != nil {
		return err
	}
	truth, err := oracle.Read(d.Lab.OracleDir(), lab.Primary)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range d.rep.Recovery {
		if r.Count.AtMost != nil || r.Seconds.AtMost != nil || r.Met == verdict.Pass || r.Exact {
			errs = append(errs, fmt.Errorf("%s %s: %+v is claimed, and nobody knows until when %s acknowledged writes", r.Kind, r.Dataset, r.Loss, lab.Primary))
		}
		if r.Kind != "table" {
			continue
		}
		if r.Version == nil {
			errs = append(errs, fmt.Errorf("table %s: the report names no version", r.Dataset))
			continue
		}
		after := 0
		for _, c := range truth.After(r.Dataset, *r.Version) {
			if c.Time.After(d.killed) {
				after++
			}
		}
		if d.after += after; after == 0 {
			errs = append(errs, fmt.Errorf("table %s: nothing was committed in %s after it was parted: it is no better than dead", r.Dataset, lab.Primary))
		}
	}
	for _, g := range e.Groups {
		if !slices.ContainsFunc(d.rep.Obligations, func(o action.Obligation) bool {
			return strings.Contains(o.What, "state what group "+g.Group+" lost")
		}) {
			errs = append(errs, fmt.Errorf("group %s: nobody owes the true number: %+v", g.Group, d.rep.Obligations))
		}
	}
	return errors.Join(errs...)
}
