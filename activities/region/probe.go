package region

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/permit"
	"breakwater/internal/reach"
	"breakwater/internal/secret"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

func (s room) regionActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "region.probe", Over: estate.Nothing, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Doc:    "Storage, Kafka and the secret store of both regions are asked from here, each in two independent ways: by a connection, and by their own protocol.",
		Timing: action.Timing{Timeout: time.Minute, Estimate: 5 * time.Second},
		Things: regionsOf, Verify: s.verifyProbe,
		Permits: permit.Join(
			permit.Of(permit.Source, permit.Storage, permit.Objects, "s3:GetBucketVersioning"), permit.Of(permit.Target, permit.Storage, permit.Objects, "s3:GetBucketVersioning"),
			permit.ReadsSecrets(permit.Source), permit.ReadsSecrets(permit.Target)),
		RedWhen: []action.Red{
			{Fault: "region.source-unreachable", Want: verdict.Unknown},
			{Fault: "region.target-unreachable", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
			{Fault: "vault.target-unreachable", Want: verdict.Unknown},
			{Fault: "kafka.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// regionsOf are the regions of a run.
func regionsOf(r action.Request) (names []string, none string) {
	for _, name := range []string{r.Run.Source, r.Run.Target} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names, "the run names no region"
}

// look is one way to ask one system. It returns what the answer said, or an
// error; a refusal is an answer, too.
type look struct {
	what string
	ask  func(context.Context) (string, error) // nil: there is nothing to ask for
	none string
}

// verifyProbe tells a region that answers from one that does not. A source that
// answers passes: whether to leave it is for people to decide.
func (s room) verifyProbe(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	var obs []action.Observation
	for _, name := range []string{c.Run.Target, c.Run.Source} {
		if name == "" {
			continue // the runbook has no such region
		}
		r, err := c.Estate.RegionNamed(name)
		if err != nil {
			return nil, err
		}
		looks := s.looks(c.Estate, r)
		seen := make([]action.Observation, len(looks))
		var g errgroup.Group // a silent system must not make the others wait
		for i, l := range looks {
			if l.ask == nil {
				seen[i] = action.Nothing(l.what, "an answer", l.none)
				continue
			}
			g.Go(func() error {
				said, err := l.ask(ctx)
				seen[i] = probed(c.Run, r, l.what, said, err)
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		obs = append(obs, seen...)
	}
	return obs, ctx.Err()
}

// probed concludes from one look. Silence is never a failure: it proves nothing
// about the other side.
func probed(run action.Run, r *estate.Region, what, said string, err error) action.Observation {
	const want = "an answer"
	switch {
	case err == nil:
	case errors.Is(err, errOther):
		return action.Saw(what, want, err.Error(), false)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, objectstore.ErrNoBucket), errors.Is(err, secret.ErrSealed):
		said = "an answer, which is a refusal"
	default:
		return action.Unknown(run, r.Region, what, want, err,
			fmt.Sprintf("When %s answers again, prove that its writers are fenced before anybody uses it", r.Region))
	}
	if r.Region == run.Source {
		said += ": this would be a planned move"
	}
	return action.Saw(what, want, said, true)
}

// errOther means that something else answers at the address.
var errOther = errors.New("something else answers there")

// looks is every way to ask a region's systems.
func (s room) looks(e *estate.Estate, r *estate.Region) []look {
	var looks []look
	add := func(system string, addresses []string, how string, ask func(context.Context) (string, error)) {
		if len(addresses) > 0 {
			looks = append(looks, look{
				what: fmt.Sprintf("the %s of %s accepts a connection", system, r.Region),
				ask:  func(ctx context.Context) (string, error) { return "a connection", dialAny(ctx, addresses) },
			})
		}
		looks = append(looks, look{what: fmt.Sprintf("the %s of %s %s", system, r.Region, how), ask: ask, none: "the estate has no bucket to ask for"})
	}
	s3 := func(ctx context.Context) (string, error) {
		b, err := s.Bucket(ctx, e, r.Region, e.Buckets[0].Bucket)
		if err != nil {
			return "", err
		}
		_, err = b.Versioned(ctx)
		return "an answer", err
	}
	if len(e.Buckets) == 0 {
		s3 = nil
	}
	add("storage", hostPort(r.Storage.Endpoint), "answers S3", s3)
	if r.Kafka != nil {
		add("kafka", r.Kafka.Brokers, "answers as its cluster", func(ctx context.Context) (string, error) {
			k, err := s.Kafka(ctx, e, r.Region)
			if err != nil {
				return "", err
			}
			id, err := k.ClusterID(ctx)
			if err == nil && id != r.Kafka.ClusterID {
				err = fmt.Errorf("%w: cluster %s, and the estate says %s", errOther, id, r.Kafka.ClusterID)
			}
			return "cluster " + id, err
		})
	}
	if r.Vault != nil {
		add("secret store", hostPort(r.Vault.Address), "answers for its health", func(ctx context.Context) (string, error) {
			store, err := s.Secrets(ctx, e, r.Region)
			if err != nil {
				return "", err
			}
			_, err = store.Health(ctx)
			return "an answer", err
		})
	}
	return looks
}

// hostPort is where a URL's server listens; none if it is no URL.
func hostPort(address string) []string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return []string{net.JoinHostPort(u.Hostname(), port)}
}

// dialAny connects to the first address that accepts.
func dialAny(ctx context.Context, addresses []string) error {
	d := net.Dialer{Timeout: 2 * time.Second}
	var errs []error
	for _, a := range addresses {
		conn, err := d.DialContext(ctx, "tcp", a)
		if err == nil {
			return conn.Close()
		}
		errs = append(errs, err)
	}
	return reach.Mark(errors.Join(errs...))
}
