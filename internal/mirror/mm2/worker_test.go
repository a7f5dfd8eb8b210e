package mm2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/kafka"
	"breakwater/internal/reach"
)

// worker answers as Connect 4.3 does: a stop is accepted at once, and shown in
// the state only after a number of questions.
type worker struct {
	t        *testing.T
	state    string
	tasks    int
	after    int // questions until a change shows
	pending  func()
	conflict int // requests refused because of a rebalance
}

func (w *worker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	refuse := func(code int, message string) {
		rw.WriteHeader(code)
		fmt.Fprintf(rw, `{"error_code":%d,"message":%q}`, code, message)
	}
	what, ok := strings.CutPrefix(r.URL.EscapedPath(), "/connectors/a%2Fb/")
	if !ok {
		refuse(404, "Connector not found")
		return
	}
	if w.conflict > 0 && r.Method != http.MethodGet {
		w.conflict--
		refuse(409, "Cannot complete request momentarily due to no known leader URL")
		return
	}
	switch r.Method + " " + what {
	case "PUT stop":
		w.pending = func() { w.state, w.tasks = "STOPPED", 0 }
		rw.WriteHeader(204)
	case "PUT resume":
		w.pending = func() { w.state, w.tasks = "RUNNING", 2 }
		rw.WriteHeader(202)
	case "GET status":
		if w.after--; w.after <= 0 && w.pending != nil {
			if w.state != "STOPPED" && w.tasks > 0 && w.after == 0 {
				w.state = "STOPPED" // first the connector, then its tasks
			} else {
				w.pending()
			}
		}
		var tasks []string
		for i := range w.tasks {
			tasks = append(tasks, fmt.Sprintf(`{"id":%d,"state":"RUNNING","worker_id":"w:1"}`, i))
		}
		fmt.Fprintf(rw, `{"name":"a/b","connector":{"state":%q,"worker_id":"w:1"},"tasks":[%s],"type":"source"}`, w.state, strings.Join(tasks, ","))
	case "GET config":
		io.WriteString(rw, `{"connector.class":"x","sync.group.offsets.enabled":"true"}`)
	case "GET offsets":
		io.WriteString(rw, `{"offsets":[{"partition":{"cluster":"primary","partition":2,"topic":"orders"},"offset":{"offset":2499}}]}`)
	default:
		w.t.Errorf("unexpected %s %s", r.Method, r.URL)
	}
}

func serve(t *testing.T, h http.Handler) *Worker {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := NewWorker(s.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStopAndResume(t *testing.T) {
	w := &worker{t: t, state: "RUNNING", tasks: 2, after: 3, conflict: 2}
	c := serve(t, w)
	s, err := c.stop(t.Context(), "a/b")
	if err != nil || !s.ended() || w.tasks != 0 {
		t.Errorf("stopped is %v, %v, with %d tasks", s, err, w.tasks)
	}
	if config, err := c.config(t.Context(), "a/b"); err != nil || config["sync.group.offsets.enabled"] != "true" {
		t.Errorf("configured with %v, %v", config, err)
	}
	got, err := c.delivered(t.Context(), "a/b")
	want := map[kafka.Partition]int64{{Topic: "orders", ID: 2}: 2500}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("offsets (-want +got), error %v:\n%s", err, diff)
	}
	if s, err := c.resume(t.Context(), "a/b"); err != nil || !s.works() {
		t.Errorf("resumed is %v, %v", s, err)
	}
}

func TestStopThatNeverEnds(t *testing.T) {
	c := serve(t, &worker{t: t, state: "RUNNING", tasks: 1, after: 1 << 30})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s, err := c.stop(ctx, "a/b")
	if !errors.Is(err, context.DeadlineExceeded) || s.ended() || !strings.Contains(err.Error(), "task 0 RUNNING") {
		t.Errorf("stopped is %v, %v; want the deadline and what still runs", s, err)
	}
}

func TestRefusals(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	dead, err := NewWorker(gone.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(code int, body string) *Worker {
		return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			io.WriteString(w, body)
		}))
	}
	for name, tc := range map[string]struct {
		c    *Worker
		want error
	}{
		"unknown connector": {serve(t, &worker{t: t}), fs.ErrNotExist},
		"forbidden":         {answer(403, "no"), fs.ErrPermission},
		"gateway":           {answer(502, "<html>"), reach.ErrUnreachable},
		"dead":              {dead, reach.ErrUnreachable},
	} {
		if _, err := tc.c.status(t.Context(), "x"); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	for name, body := range map[string]string{"no worker": `{}`, "no JSON": `hello`} {
		if s, err := answer(200, body).status(t.Context(), "x"); err == nil {
			t.Errorf("%s: status is %v", name, s)
		}
		if config, err := answer(200, body).config(t.Context(), "x"); err == nil {
			t.Errorf("%s: configured with %v", name, config)
		}
	}
	for _, body := range []string{`{"offsets":[{"partition":{"file":"x"},"offset":{"position":3}}]}`, `{"offsets":[{"partition":{"topic":"t"},"offset":null}]}`} {
		if got, err := answer(200, body).delivered(t.Context(), "x"); err == nil {
			t.Errorf("%s was read as %v", body, got)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:8083", "ftp://x", "http://"} {
		if _, err := NewWorker(bad, nil); err == nil {
			t.Errorf("address %q was accepted", bad)
		}
	}
}
