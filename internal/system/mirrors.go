package system

import (
	"context"
	"fmt"
	"io/fs"

	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/mirror/mm2"
)

// Mirror opens what copies the topics of the source region into the target. The
// source may be empty or have no Kafka where nobody asks how far the mirror has come.
// mirror.ErrNone is in the chain where the estate names nothing that mirrors into the
// target. No mirror is asked yet.
func (s *Systems) Mirror(ctx context.Context, e *estate.Estate, source, target string) (mirror.Mirror, error) {
	r, err := e.RegionNamed(target)
	if err != nil {
		return nil, err
	}
	decl := r.Connect
	if decl == nil {
		return nil, fmt.Errorf("region %s has no connect in estate %s: %w", target, e.Estate, mirror.ErrNone)
	}
	var as mm2.Login
	if decl.Credentials != "" {
		if as.User, as.Password, err = s.login(ctx, e, target, decl.Credentials, "the connect of "+target); err != nil {
			return nil, err
		}
	}
	w, err := s.mirrors.get(decl.URL+" "+as.User+" "+as.Password, func() (*mm2.Worker, error) {
		return mm2.NewWorker(decl.URL, as) // it knows how long each request may take
	})
	if err != nil {
		return nil, err
	}
	c := named(e, source, target)
	c.Worker, c.Source, c.Checkpoint, c.Connectors, c.OffsetsTopic = w, decl.Source, decl.Checkpoint, decl.Connectors(), decl.OffsetsTopic
	c.Heartbeat = decl.Heartbeat
	c.Target = func(ctx context.Context) (*kafka.Client, error) { return s.Kafka(ctx, e, target) }
	return mm2.New(c), nil
}

// Names says what the topics of the source region are called in the target. Where the
// estate names nothing that mirrors them, they keep their names.
func (s *Systems) Names(e *estate.Estate, source, target string) mirror.Names {
	return named(e, source, target).Names()
}

// named is what decides on names.
func named(e *estate.Estate, source, target string) mm2.Config {
	var c mm2.Config
	if src, ok := e.Region(source); ok && src.Kafka != nil {
		c.Alias = src.Kafka.Alias
	}
	r, ok := e.Region(target)
	if !ok {
		return c
	}
	if r.Kafka != nil {
		c.TargetAlias, c.TargetID = r.Kafka.Alias, r.Kafka.ClusterID
	}
	if r.Connect != nil && source != target {
		c.Renames, c.Separator = !r.Connect.PolicyIdentity, r.Connect.Separator
	}
	return c
}

// KafkaAsMirror connects anew to a region's cluster as the principal by which the mirror
// writes there. It refuses credentials that could show nothing of that principal: another
// user's, and the worker's own. Nobody is asked yet. The function ends the connection.
func (s *Systems) KafkaAsMirror(ctx context.Context, e *estate.Estate, name string) (*kafka.Client, func(), error) {
	r, err := e.RegionNamed(name)
	if err != nil {
		return nil, nil, err
	}
	if r.Kafka == nil || r.Connect == nil || r.Connect.Principal == nil {
		return nil, nil, fmt.Errorf("region %s has no connect with a principal in estate %s: %w", name, e.Estate, fs.ErrNotExist)
	}
	as := *r.Connect.Principal
	cfg := kafka.Config{Brokers: r.Kafka.Brokers}
	if cfg.User, cfg.Password, err = s.login(ctx, e, name, as.Credentials, "the mirror's principal in "+name); err != nil {
		return nil, nil, err
	}
	if cfg.User != as.Name {
		return nil, nil, fmt.Errorf("the credentials of the mirror's principal %s in %s are those of user %s; correct connect.principal in the estate", as.Name, name, cfg.User)
	}
	if r.Kafka.Credentials != "" {
		own, err := s.Credentials(ctx, e, name, r.Kafka.Credentials, "the kafka of "+name)
		if err != nil {
			return nil, nil, err
		}
		if user, err := own.Text("username"); err == nil && user == cfg.User {
			return nil, nil, fmt.Errorf("the mirror into %s and the worker are the same user %s, so the one cannot be denied without the other; give the mirror a user of its own", name, user)
		}
	}
	k, err := kafka.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	return k, k.Close, nil
}
