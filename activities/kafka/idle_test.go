package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/lab/prove"
)

// TestAConnectorWithoutTasksComesBack: a checkpoint connector has no task while there is no
// consumer group to note. It runs all the same, and runs again when its stop is taken back;
// one that had a task does not until it has one, unless its source is gone.
func TestAConnectorWithoutTasksComesBack(t *testing.T) {
	t.Parallel()
	for name, is := range map[string]struct{ stays, dead bool }{
		"as before":                              {},
		"the task of another does not come back": {stays: true},
		"nor where the source is dead":           {stays: true, dead: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lame := is.stays && !is.dead
			p := newPair(t, 1, 1)
			p.Run.SourceUnreachable = is.dead
			var mu sync.Mutex
			stopped := map[string]bool{}
			tasks := map[string]string{"mm2-source": `{"id":0,"state":"RUNNING"}`, "mm2-heartbeat": `{"id":0,"state":"RUNNING"}`}
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				name, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/connectors/"), "/")
				switch r.Method + " " + what {
				case "GET status":
					state, running := "RUNNING", tasks[name]
					if stopped[name] {
						state, running = "STOPPED", ""
					}
					fmt.Fprintf(rw, `{"connector":{"state":%q},"tasks":[%s]}`, state, running)
				case "GET config":
					if err := json.NewEncoder(rw).Encode(byDefault()); err != nil {
						t.Error(err)
					}
				case "PUT stop":
					stopped[name] = true
				case "PUT resume":
					if stopped[name] = false; is.stays && name == "mm2-source" {
						tasks[name] = ""
					}
				default:
					rw.WriteHeader(http.StatusMethodNotAllowed)
					fmt.Fprint(rw, `{"error_code":405,"message":"HTTP 405 Method Not Allowed"}`)
				}
			}))
			t.Cleanup(s.Close)
			at := p.Estate.Regions[1].Connect
			at.URL, at.PolicyIdentity = s.URL, false

			def := newRoomAction(p, "kafka.stop-mirror")
			r := p.Request(def, "")
			p.Act(def, &r, nil)
			back, err := def.UndoPlan(t.Context(), r, nil)
			p.Must(err)
			r.Plan = &back
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err = def.UndoApply(ctx, r, nil)
			if (err == nil) == lame {
				t.Errorf("take back: %v", err)
			}
			obs, err := def.UndoVerify(t.Context(), r, nil)
			p.Must(err)
			if got := action.Worst(obs).Clear(); got == lame {
				t.Errorf("taken back: %s\n%s", action.Worst(obs), prove.Told(obs))
			}
		})
	}
}
