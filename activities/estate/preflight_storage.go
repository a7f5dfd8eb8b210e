package estate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// buckets asks with recovery's own credentials.
func (p *preflight) buckets(ctx context.Context) {
	for _, b := range p.c.Estate.Buckets {
		what, want := fmt.Sprintf("recovery can work in bucket %s at %s", b.Bucket, p.r.Region), "it answers recovery, and keeps versions"
		bucket, err := p.s.Bucket(ctx, p.c.Estate, p.r.Region, b.Bucket)
		if err != nil {
			p.err(what, want, err)
			continue
		}
		why, err := bucket.Unversioned(ctx)
		switch {
		case err != nil:
			p.err(what, want, err)
		case why != "":
			p.saw(what, want, why, false)
		default:
			p.saw(what, want, bucket.Name()+" answers and keeps versions", true)
		}
	}
}

// logs lists the beginning of every table's log.
func (p *preflight) logs(ctx context.Context) {
	for _, g := range p.groups() {
		if len(g.Tables) == 0 {
			continue
		}
		what, want := "the logs of "+g.Group+"'s tables have reached "+p.r.Region, fmt.Sprintf("a log for each of %s", plural.Of(len(g.Tables), "table"))
		var missing []string
		var failed error
		for _, t := range g.Tables {
			there, err := p.log(ctx, t)
			if err != nil {
				failed = err
				break
			}
			if !there {
				missing = append(missing, t.Table)
			}
		}
		if failed != nil {
			p.err(what, want, failed)
			continue
		}
		got := fmt.Sprintf("%d of %d", len(g.Tables)-len(missing), len(g.Tables))
		if len(missing) > 0 {
			got += "; none for " + plural.Few(missing) + ": replication has not brought it, or its path in the estate is wrong"
		}
		p.saw(what, want, got, len(missing) == 0)
	}
}

func (p *preflight) log(ctx context.Context, t estate.Table) (bool, error) {
	b, err := p.s.Bucket(ctx, p.c.Estate, p.r.Region, t.Bucket)
	if err != nil {
		return false, err
	}
	f, err := p.s.Format(t.Format)
	if err != nil {
		return false, err
	}
	for _, err := range b.List(ctx, f.Log(table.Root{Bucket: b.Name(), Prefix: t.Path})) {
		return err == nil, err
	}
	return false, nil
}

// users tries the credentials of everybody whom recovery will let in or keep out,
// and asks the administrator for them.
func (p *preflight) users(ctx context.Context) {
	st := p.r.Storage
	var all []estate.Principal
	gives := false
	for _, g := range p.groups() {
		readers, writers := g.AccessIn(p.r.Region)
		gives = gives || len(readers)+len(writers) > 0
		for _, u := range slices.Concat(readers, writers) {
			all = append(all, estate.Principal{Name: u.Name, Credentials: u.Credentials})
		}
	}
	if gives {
		err := p.s.AccessAt(p.r)
		got := "provider " + st.Provider
		if err != nil {
			got = err.Error()
		}
		p.saw("recovery can give access at "+p.r.Region, "a provider whose policies it can write", got, err == nil)
	}
	if len(p.c.Estate.Buckets) > 0 && p.c.Run.Source != "" {
		const what = "it is known who delivers replicas into the target"
		if st.Replication == nil {
			p.saw(what, "storage.replication in the estate", "nobody is named in "+p.r.Region+": the intake could not be closed", false)
		} else {
			p.saw(what, "storage.replication in the estate", st.Replication.Name, true)
			all = append(all, *st.Replication)
		}
	}
	if len(all) == 0 || p.s.AccessAt(p.r) != nil { // there are no users to ask for
		return
	}
	slices.SortFunc(all, func(a, b estate.Principal) int { return strings.Compare(a.Name, b.Name) })
	all = slices.CompactFunc(all, func(a, b estate.Principal) bool { return a.Name == b.Name })
	what, want := "everybody to be let in or kept out at "+p.r.Region+" is a user there, with working credentials", plural.Of(len(all), "user")
	admin, err := p.s.Granter(ctx, p.c.Estate, p.r.Region)
	if err != nil {
		p.err(what, want, err)
		return
	}
	var wrong []string
	for _, u := range all {
		info, err := admin.User(ctx, u.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			wrong = append(wrong, u.Name+" is no user there")
			continue
		case err != nil:
			p.err(what, want, err)
			return
		case !info.Enabled:
			wrong = append(wrong, u.Name+" is disabled")
			continue
		}
		why, err := p.login(ctx, u)
		if err != nil {
			p.err(what, want, err)
			return
		}
		if why != "" {
			wrong = append(wrong, why)
		}
	}
	got := fmt.Sprintf("%d of %d", len(all)-len(wrong), len(all))
	if len(wrong) > 0 {
		got += "; " + strings.Join(wrong[:min(len(wrong), 3)], "; ")
	}
	p.saw(what, want, got, len(wrong) == 0)
}

// login says what is wrong with a principal's credentials; empty for nothing. To
// be denied a listing takes working credentials.
func (p *preflight) login(ctx context.Context, u estate.Principal) (string, error) {
	c, err := p.s.StorageAs(ctx, p.c.Estate, p.r.Region, u.Credentials, u.Name)
	if err != nil {
		return err.Error(), nil
	}
	if len(p.c.Estate.Buckets) == 0 {
		return "", nil
	}
	real, err := p.c.Estate.RealBucket(p.c.Estate.Buckets[0].Bucket, p.r.Region)
	if err != nil {
		return "", err
	}
	err = objectstore.CanList(ctx, c, real, "")
	switch objectstore.Attempted(err) {
	case objectstore.ProbeAllowed, objectstore.ProbeDenied:
		return "", nil
	case objectstore.ProbeUnreachable:
		return "", err
	}
	return err.Error(), nil
}
