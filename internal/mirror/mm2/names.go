package mm2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"breakwater/internal/mirror"
)

// Separator stands between a cluster's alias and a topic unless a mirror is told
// otherwise: DefaultReplicationPolicy.SEPARATOR_DEFAULT.
const Separator = "."

func (c Config) separator() string { return cmp.Or(c.Separator, Separator) }

// Names says what topics are called at the target, as
// DefaultReplicationPolicy.formatRemoteTopic does; IdentityReplicationPolicy keeps
// their names.
func (c Config) Names() mirror.Names {
	if !c.Renames {
		return mirror.Names{}
	}
	return mirror.Names{Prefix: c.Alias + c.separator()}
}

// The topics of the target in which a mirror of this source keeps notes. Both policies
// name them in the same way, and heartbeats as DefaultReplicationPolicy names any topic.
func (c Config) checkpointsTopic() string { return c.internal(c.Alias, "checkpoints") }
func (c Config) syncsTopic() string       { return c.internal("mm2-offset-syncs", c.Alias) }
func (c Config) heartbeatsTopic() string {
	return strings.Join([]string{c.Alias, "heartbeats"}, c.separator())
}

// Notes names the topics of the target in which the mirror notes how far it has come.
func (c Config) Notes() []string {
	return []string{c.OffsetsTopic, c.checkpointsTopic(), c.syncsTopic(), c.heartbeatsTopic()}
}

func (c Config) internal(parts ...string) string {
	return strings.Join(append(parts, "internal"), c.separator())
}

// Names says what topics are called at the target.
func (m *Mirror) Names() mirror.Names { return m.c.Names() }

// The policies that are known, of package org.apache.kafka.connect.mirror.
const (
	pack         = "org.apache.kafka.connect.mirror."
	renamingPack = pack + "DefaultReplicationPolicy"
	identityPack = pack + "IdentityReplicationPolicy"
)

// Conform asks the worker how the source and the checkpoint connector are configured:
// one that copies into other topics than the other translates for is found too.
func (m *Mirror) Conform(ctx context.Context) error {
	var all []error
	for _, name := range []string{m.c.Source, m.c.Checkpoint} {
		config, err := m.c.Worker.config(ctx, name)
		if err == nil {
			err = m.c.conforms(name, config)
		}
		if ctx.Err() != nil {
			return err
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// conforms holds a connector's configuration against what was declared.
func (c Config) conforms(name string, config map[string]string) error {
	for _, a := range c.aliases(config) {
		if a.hidden() {
			return hidden(name, a.is)
		}
		for _, odd := range a.odd(name) {
			return fmt.Errorf("%w: %s", mirror.ErrDiffers, odd)
		}
	}
	return c.naming(name, config)
}

func hidden(name, by string) error {
	return fmt.Errorf("connector %s: its configuration hides what it names topics by (%s): write it out there", name, by)
}

// naming holds how a connector names topics against what was declared.
func (c Config) naming(name string, config map[string]string) error {
	has := func(key, byDefault string) string {
		if v, ok := config[key]; ok {
			return v
		}
		return byDefault
	}
	class := strings.TrimSpace(has("replication.policy.class", renamingPack))
	separator := has("replication.policy.separator", Separator)
	for _, v := range []string{class, separator} {
		if strings.Contains(v, "${") {
			return hidden(name, v)
		}
	}
	differs := func(format string, args ...any) error {
		return fmt.Errorf("connector %s is set to something %w: %s", name, mirror.ErrDiffers, fmt.Sprintf(format, args...))
	}
	declared, want := "identity_policy: true", identityPack
	if c.Renames {
		declared, want = "identity_policy: false", renamingPack
	}
	switch {
	case class != renamingPack && class != identityPack:
		return differs("its replication.policy.class is %s, and how that names topics is not known here; only %s and %s are supported", class, identityPack, renamingPack)
	case class != want:
		return differs("its replication.policy.class is %s, and the estate says %s; correct identity_policy under connect in the estate, or the connector", class, declared)
	case separator != c.separator():
		return differs("its replication.policy.separator is %q, and the estate says %q; correct separator under connect in the estate, or the connector", separator, c.separator())
	case separator != Separator && strings.EqualFold(strings.TrimSpace(has("replication.policy.internal.topic.separator.enabled", "true")), "false"):
		return differs("replication.policy.internal.topic.separator.enabled is false, so that its own topics are not named by the separator %q; that is not supported", separator)
	}
	for _, t := range strings.Split(has("transforms", ""), ",") {
		if kind := config["transforms."+strings.TrimSpace(t)+".type"]; strings.HasSuffix(strings.SplitN(kind, "$", 2)[0], "Router") {
			return differs("its transform %s (%s) gives records other topics than the policy does; that is not supported", strings.TrimSpace(t), kind)
		}
	}
	return nil
}
