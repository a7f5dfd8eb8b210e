package system

import (
	"context"
	"fmt"

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
		v, err := s.Credentials(ctx, e, target, decl.Credentials, "the connect of "+target)
		if err != nil {
			return nil, err
		}
		if as.User, err = v.Text("username"); err != nil {
			return nil, err
		}
		if as.Password, err = v.Text("password"); err != nil {
			return nil, err
		}
	}
	w, err := s.mirrors.get(decl.URL+" "+as.User+" "+as.Password, func() (*mm2.Worker, error) {
		return mm2.NewWorker(decl.URL, as) // it knows how long each request may take
	})
	if err != nil {
		return nil, err
	}
	alias, targetAlias, targetID := "", "", ""
	if r.Kafka != nil {
		targetAlias, targetID = r.Kafka.Alias, r.Kafka.ClusterID
	}
	if src, ok := e.Region(source); ok && src.Kafka != nil {
		alias = src.Kafka.Alias
	}
	return mm2.New(mm2.Config{
		Worker: w, Source: decl.Source, Checkpoint: decl.Checkpoint, Connectors: decl.Connectors(),
		OffsetsTopic: decl.OffsetsTopic, Alias: alias,
		Heartbeat: decl.Heartbeat, TargetAlias: targetAlias, TargetID: targetID,
		Target: func(ctx context.Context) (*kafka.Client, error) { return s.Kafka(ctx, e, target) },
	}), nil
}
