package minio

import (
	"context"
	"slices"
	"time"

	"github.com/minio/madmin-go/v3"

	"breakwater/internal/objectstore"
	"breakwater/internal/poll"
)

// A server that has just started answers before it has read its targets: it is asked
// this often about a rule that leads nowhere, with this much between.
const (
	targetsAsked = 20
	targetsWait  = 200 * time.Millisecond
)

// Replication is that of [objectstore.Replicator].
func (a *Admin) Replication(ctx context.Context, bucket string) ([]objectstore.Route, error) {
	for asked := 1; ; asked++ {
		routes, err := a.routes(ctx, bucket)
		if err != nil || asked == targetsAsked || !slices.ContainsFunc(routes, func(r objectstore.Route) bool { return r.To == "" }) {
			return routes, err
		}
		if poll.Wait(ctx, targetsWait) != nil {
			return nil, ctx.Err()
		}
	}
}

func (a *Admin) routes(ctx context.Context, bucket string) ([]objectstore.Route, error) {
	rules, err := a.store.Rules(ctx, bucket)
	if err != nil || len(rules) == 0 {
		return nil, err
	}
	var targets []madmin.BucketTarget
	err = a.do(ctx, "list replication targets of "+bucket, func(ctx context.Context) error {
		var err error
		targets, err = a.mc.ListRemoteTargets(ctx, bucket, string(madmin.ReplicationService))
		return err
	})
	if err != nil {
		return nil, err
	}
	routes := make([]objectstore.Route, len(rules))
	for i, r := range rules {
		routes[i] = objectstore.Route{ReplicationRule: r, Resyncs: true}
		for _, t := range targets {
			if t.Arn != r.Destination {
				continue
			}
			routes[i].To, routes[i].Endpoint = t.TargetBucket, "http://"+t.Endpoint
			if t.Secure {
				routes[i].Endpoint = "https://" + t.Endpoint
			}
			if t.Credentials != nil {
				routes[i].Principal = t.Credentials.AccessKey
			}
		}
	}
	return routes, nil
}
