package mm2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"breakwater/internal/mirror"
)

// Contradictions asks the worker for its cluster and for each connector's class and
// aliases, and looks for the source connector's offsets in the topic in which they are
// said to be. A wrong alias would have nobody find a checkpoint, a wrong topic would have
// the mirror seem to begin anew, and neither is an error anywhere else.
func (m *Mirror) Contradictions(ctx context.Context) ([]string, error) {
	odd, err := m.cluster(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range []struct{ key, name, class string }{
		{"source", m.c.Source, "MirrorSourceConnector"}, {"checkpoint", m.c.Checkpoint, "MirrorCheckpointConnector"}, {"heartbeat", m.c.Heartbeat, "MirrorHeartbeatConnector"},
	} {
		if c.name == "" {
			continue
		}
		config, err := m.c.Worker.config(ctx, c.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // that it is not there is said by the list of those that are
		}
		if err != nil {
			return nil, err
		}
		if is := config["connector.class"]; !sameClass(is, c.class) {
			odd = append(odd, fmt.Sprintf("connector %s is a %s and no %s: correct %s of connect in the estate", c.name, is, c.class, c.key))
			continue
		}
		if c.class == "MirrorHeartbeatConnector" {
			continue // it may write into either cluster, and names them from there
		}
		for _, a := range m.c.aliases(config) {
			odd = append(odd, a.odd(c.name)...)
		}
		if err := m.c.naming(c.name, config); errors.Is(err, mirror.ErrDiffers) { // what hides it says nothing otherwise
			odd = append(odd, err.Error())
		}
	}
	more, err := m.offsets(ctx)
	return append(odd, more...), err
}

// cluster says whether the worker works for another cluster than the target.
func (m *Mirror) cluster(ctx context.Context) ([]string, error) {
	var is struct {
		Cluster string `json:"kafka_cluster_id"`
	}
	if err := m.c.Worker.do(ctx, http.MethodGet, "/", nil, &is); err != nil {
		return nil, err
	}
	if is.Cluster == "" || m.c.TargetID == "" || is.Cluster == m.c.TargetID {
		return nil, nil
	}
	return []string{fmt.Sprintf("the worker at %s is of cluster %s, and the estate says %s: correct url of connect or cluster_id in the estate", m.c.Worker.base, is.Cluster, m.c.TargetID)}, nil
}

// sameClass reports whether a connector is of a class, which may be written with its
// package, alone, or without its last word.
func sameClass(is, class string) bool {
	is = is[strings.LastIndex(is, ".")+1:]
	return is == class || is == strings.TrimSuffix(class, "Connector") || strings.Contains(is, "${")
}

// alias is what a connector calls a cluster, beside what was declared.
type alias struct{ key, is, declared string }

// aliases are those of both clusters, as MirrorMaker takes them where a configuration has
// none.
func (c Config) aliases(config map[string]string) []alias {
	const source, target = "source.cluster.alias", "target.cluster.alias"
	return []alias{{source, cmp.Or(config[source], "source"), c.Alias}, {target, cmp.Or(config[target], "target"), c.TargetAlias}}
}

// hidden reports whether a connector takes it from elsewhere, so that it is not known.
func (a alias) hidden() bool { return strings.Contains(a.is, "${") }

// odd says that a connector names a cluster otherwise.
func (a alias) odd(connector string) []string {
	if a.declared == "" || a.is == a.declared || a.hidden() {
		return nil
	}
	return []string{fmt.Sprintf("connector %s has %s %s, and the estate says %s: correct alias of kafka in the estate", connector, a.key, a.is, a.declared)}
}

// offsets says that the topic of offsets has none of the source connector's, though the
// worker knows some.
func (m *Mirror) offsets(ctx context.Context) ([]string, error) {
	if m.c.OffsetsTopic == "" || m.c.Source == "" {
		return nil, nil
	}
	says, err := m.c.Worker.delivered(ctx, m.c.Source)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errPath), errors.Is(err, errMethod): // before Kafka 3.6 it cannot be asked
	case err != nil:
		return nil, err
	}
	target, err := m.c.Target(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := connectOffsets(ctx, target, m.c.OffsetsTopic, m.c.Source)
	const next = "write the worker's offset.storage.topic, or the connector's own offsets.storage.topic, into offsets_topic of connect in the estate"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []string{fmt.Sprintf("there is no topic %s: %s", m.c.OffsetsTopic, next)}, nil
	case err != nil:
		return nil, err
	case len(kept) == 0 && len(says) > 0:
		return []string{fmt.Sprintf("topic %s has no offset of connector %s, of which the worker knows %d: %s", m.c.OffsetsTopic, m.c.Source, len(says), next)}, nil
	}
	return nil, nil
}
