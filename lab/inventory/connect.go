package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// connect notes a Connect worker's connectors: how they are configured, whether they run,
// and how far they say to have come.
func (t *taken) connect(ctx context.Context, place, address string) error {
	var all map[string]struct {
		Info struct {
			Config map[string]string `json:"config"`
		} `json:"info"`
		Status struct {
			Connector struct {
				State string `json:"state"`
			} `json:"connector"`
			Tasks []struct {
				ID    int    `json:"id"`
				State string `json:"state"`
			} `json:"tasks"`
		} `json:"status"`
	}
	if err := get(ctx, address+"/connectors?expand=info&expand=status", &all); err != nil {
		return fmt.Errorf("connect of %s: %w", place, err)
	}
	for name, c := range all {
		state := []string{c.Status.Connector.State}
		slices.SortFunc(c.Status.Tasks, func(a, b struct {
			ID    int    `json:"id"`
			State string `json:"state"`
		}) int {
			return a.ID - b.ID
		})
		for _, task := range c.Status.Tasks {
			state = append(state, fmt.Sprintf("task %d %s", task.ID, task.State))
		}
		err := errors.Join(t.note(place, Connector, name, c.Info.Config), t.note(place, State, name, state))
		if err == nil && (!t.partial || !elsewhere(c.Info.Config)) {
			err = t.delivered(ctx, place, address, name)
		}
		if err != nil {
			return fmt.Errorf("connect of %s: connector %s: %w", place, name, err)
		}
	}
	return nil
}

// elsewhere reports whether a connector keeps its offsets in another cluster than the
// worker's own: where that is dead, the worker cannot tell them.
func elsewhere(config map[string]string) bool {
	return config["consumer.override.bootstrap.servers"] != ""
}

// delivered notes the offsets of a connector; not of topics that move by themselves.
func (t *taken) delivered(ctx context.Context, place, address, name string) error {
	var answer struct {
		Offsets []struct {
			Partition map[string]any `json:"partition"`
			Offset    map[string]any `json:"offset"`
		} `json:"offsets"`
	}
	if err := get(ctx, address+"/connectors/"+name+"/offsets", &answer); err != nil {
		return err
	}
	for _, o := range answer.Offsets {
		topic, ok := o.Partition["topic"].(string)
		if !ok || moves(topic) { // a heartbeat's names no topic, nor does a group's checkpoint that it only counts
			continue
		}
		raw, err := json.Marshal(o.Partition)
		if err == nil {
			err = t.note(place, Delivered, name+" "+string(raw), o.Offset)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func get(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
