package mm2

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"breakwater/internal/mirror"
	"breakwater/internal/reach"
)

func TestNames(t *testing.T) {
	for name, tc := range map[string]struct {
		c           Config
		topic       string
		checkpoints string
		syncs       string
		heartbeats  string
	}{
		"kept":                   {Config{Alias: "east"}, "orders", "east.checkpoints.internal", "mm2-offset-syncs.east.internal", "east.heartbeats"},
		"kept, with a separator": {Config{Alias: "east", Separator: "_"}, "orders", "east_checkpoints_internal", "mm2-offset-syncs_east_internal", "east_heartbeats"},
		"renamed":                {Config{Alias: "east", Renames: true}, "east.orders", "east.checkpoints.internal", "mm2-offset-syncs.east.internal", "east.heartbeats"},
		"renamed by another":     {Config{Alias: "us-east", Renames: true, Separator: "--"}, "us-east--orders", "us-east--checkpoints--internal", "mm2-offset-syncs--us-east--internal", "us-east--heartbeats"},
	} {
		if got := tc.c.Names().AtTarget("orders"); got != tc.topic {
			t.Errorf("%s: orders is %s at the target, want %s", name, got, tc.topic)
		}
		if got := [3]string{tc.c.checkpointsTopic(), tc.c.syncsTopic(), tc.c.heartbeatsTopic()}; got != [3]string{tc.checkpoints, tc.syncs, tc.heartbeats} {
			t.Errorf("%s: its own topics are %q", name, got)
		}
	}
}

func TestConform(t *testing.T) {
	const identity, custom = "org.apache.kafka.connect.mirror.IdentityReplicationPolicy", "org.example.Ours"
	keeps := Config{Alias: "east", TargetAlias: "west"}
	renames := Config{Alias: "east", TargetAlias: "west", Renames: true}
	apart := Config{Alias: "east", TargetAlias: "west", Renames: true, Separator: "_"}
	with := func(pairs ...string) map[string]string {
		config := map[string]string{"connector.class": "x", "source.cluster.alias": "east", "target.cluster.alias": "west"}
		for i := 0; i < len(pairs); i += 2 {
			config[pairs[i]] = pairs[i+1]
		}
		return config
	}
	for name, tc := range map[string]struct {
		c      Config
		config map[string]string
		want   error
		says   string
	}{
		"as declared, kept":                    {keeps, with("replication.policy.class", " "+identity+" "), nil, ""},
		"as declared, renamed by default":      {renames, with(), nil, ""},
		"as declared, with a separator":        {apart, with("replication.policy.separator", "_"), nil, ""},
		"harmless transforms":                  {renames, with("transforms", "a, b", "transforms.a.type", "org.apache.kafka.connect.transforms.InsertHeader", "transforms.b.type", "org.apache.kafka.connect.transforms.ReplaceField$Value"), nil, ""},
		"renames, and is to keep":              {keeps, with(), mirror.ErrDiffers, "DefaultReplicationPolicy, and the estate says identity_policy: true; correct identity_policy under connect"},
		"keeps, and is to rename":              {renames, with("replication.policy.class", identity), mirror.ErrDiffers, "the estate says identity_policy: false"},
		"a policy of somebody's own":           {renames, with("replication.policy.class", custom), mirror.ErrDiffers, custom + ", and how that names topics is not known"},
		"a separator nobody declared":          {renames, with("replication.policy.separator", "_"), mirror.ErrDiffers, `is "_", and the estate says "."; correct separator`},
		"a separator that nobody has":          {apart, with(), mirror.ErrDiffers, `is ".", and the estate says "_"`},
		"its own topics by another":            {apart, with("replication.policy.separator", "_", "replication.policy.internal.topic.separator.enabled", "false"), mirror.ErrDiffers, "internal.topic.separator.enabled"},
		"the same, which changes nothing":      {renames, with("replication.policy.internal.topic.separator.enabled", "false"), nil, ""},
		"another source":                       {renames, with("source.cluster.alias", "eu"), mirror.ErrDiffers, `source.cluster.alias eu, and the estate says east`},
		"another target":                       {renames, with("target.cluster.alias", "eu"), mirror.ErrDiffers, `target.cluster.alias eu`},
		"aliases that nobody wrote":            {renames, map[string]string{"connector.class": "x"}, mirror.ErrDiffers, `cluster.alias`},
		"a transform that renames":             {renames, with("transforms", "r", "transforms.r.type", "org.apache.kafka.connect.transforms.RegexRouter"), mirror.ErrDiffers, "its transform r"},
		"a name that only the worker can read": {renames, with("source.cluster.alias", "${file:/etc/mm2:alias}"), nil, "write it out there"},
	} {
		body, err := json.Marshal(tc.config)
		if err != nil {
			t.Fatal(err)
		}
		m := answering(t, 200, string(body))
		tc.c.Worker, tc.c.Source, tc.c.Checkpoint = m.c.Worker, "source", "checkpoint"
		err = New(tc.c).Conform(t.Context())
		if (err == nil) != (tc.says == "") || errors.Is(err, mirror.ErrDiffers) != (tc.want != nil) || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v; want %v, with %q", name, err, tc.want, tc.says)
		}
	}
	for name, tc := range map[string]struct {
		m    *Mirror
		want error
	}{
		"a connector that is not there": {answering(t, 404, `{"error_code":404,"message":"Connector source not found"}`), fs.ErrNotExist},
		"a worker that refuses":         {answering(t, 403, `{}`), fs.ErrPermission},
		"a front without a worker":      {answering(t, 502, ``), reach.ErrUnreachable},
	} {
		if err := tc.m.Conform(t.Context()); !errors.Is(err, tc.want) || errors.Is(err, mirror.ErrDiffers) {
			t.Errorf("%s: %v, want %v and no difference", name, err, tc.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := answering(t, 200, `{}`).Conform(ended); err == nil {
		t.Error("after the caller has gone, all is as declared")
	}
}
