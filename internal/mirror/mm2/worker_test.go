package mm2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
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
	if w.conflict > 0 {
		if w.conflict--; w.conflict%2 == 1 {
			refuse(500, "Request cannot be completed because a rebalance is expected")
		} else {
			refuse(409, "Cannot complete request momentarily due to no known leader URL")
		}
		return
	}
	switch r.Method + " " + what {
	case "PUT stop":
		w.pending = func() { w.state, w.tasks = "STOPPED", 0 }
		rw.WriteHeader(204)
	case "PUT resume":
		w.pending = func() { w.state, w.tasks = "RUNNING", 2 }
		rw.WriteHeader(202)
	case "GET stop":
		refuse(405, "HTTP 405 Method Not Allowed")
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
	c, err := NewWorker(s.URL+"/", Login{})
	if err != nil {
		t.Fatal(err)
	}
	c.patience = 400 * time.Millisecond
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
	if s, err := c.resume(t.Context(), "a/b", false); err != nil || !s.works() {
		t.Errorf("resumed is %v, %v", s, err)
	}
}

// TestQuestionsOutlastARebalance asks while the workers divide their connectors: no answer
// of these moments is one about a connector.
func TestQuestionsOutlastARebalance(t *testing.T) {
	w := &worker{t: t, state: "RUNNING", tasks: 2}
	c := serve(t, w)
	for doing, ask := range map[string]func() error{
		"config":    func() error { _, err := c.config(t.Context(), "a/b"); return err },
		"status":    func() error { _, err := c.status(t.Context(), "a/b"); return err },
		"offsets":   func() error { _, err := c.delivered(t.Context(), "a/b"); return err },
		"stoppable": func() error { return c.stoppable(t.Context(), "a/b") },
	} {
		w.conflict = 2
		if err := ask(); err != nil || w.conflict > 0 {
			t.Errorf("%s: %v, with %d refusals left", doing, err, w.conflict)
		}
	}
}

func TestStopThatNeverEnds(t *testing.T) {
	c := serve(t, &worker{t: t, state: "RUNNING", tasks: 1, after: 1 << 30})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s, err := c.stop(ctx, "a/b")
	if !errors.Is(err, mirror.ErrStill) || reach.Unreachable(err) || s.ended() || !strings.Contains(err.Error(), "task 0 RUNNING") {
		t.Errorf("stopped is %v, %v; want that the worker answers, and what still runs", s, err)
	}
}

func TestRefusals(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	dead, err := NewWorker(gone.URL, Login{})
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
		"no such path":      {answer(404, `{"error_code":404,"message":"HTTP 404 Not Found"}`), reach.ErrMisconfigured},
		"another's 404":     {answer(404, "<html>"), reach.ErrMisconfigured},
		"another method":    {answer(405, `{"error_code":405,"message":"HTTP 405 Method Not Allowed"}`), reach.ErrMisconfigured},
		"no JSON":           {answer(200, `<html><form action="/login">`), reach.ErrMisconfigured},
		"no worker":         {answer(200, `{}`), reach.ErrMisconfigured},
		"plain HTTP to TLS": {answer(400, "Client sent an HTTP request to an HTTPS server.\n"), reach.ErrMisconfigured},
		"nobody asks":       {answer(401, `{"error_code":401,"message":"User cannot access the resource."}`), fs.ErrPermission},
		"rebalancing":       {answer(409, `{"error_code":409,"message":"Cannot complete request momentarily due to stale configuration (typically caused by a concurrent config change)"}`), reach.ErrThrottled},
		"about to":          {answer(500, `{"error_code":500,"message":"Request cannot be completed because a rebalance is expected"}`), reach.ErrThrottled},
		"too many requests": {answer(429, "slow down"), reach.ErrThrottled},
		"busy":              {answer(500, `{"error_code":500,"message":"Request timed out. The worker is currently polling the group coordinator"}`), reach.ErrThrottled},
		"starting":          {answer(503, `{"error_code":503,"message":"This worker is still starting up."}`), reach.ErrThrottled},
		"no worker behind":  {answer(503, "<html>503 Service Unavailable"), reach.ErrUnreachable},
		"forbidden":         {answer(403, "no"), fs.ErrPermission},
		"gateway":           {answer(502, "<html>"), reach.ErrUnreachable},
		"dead":              {dead, reach.ErrUnreachable},
	} {
		for doing, ask := range map[string]func() error{
			"status":    func() error { _, err := tc.c.status(t.Context(), "x"); return err },
			"config":    func() error { _, err := tc.c.config(t.Context(), "x"); return err },
			"offsets":   func() error { _, err := tc.c.delivered(t.Context(), "x"); return err },
			"stoppable": func() error { return tc.c.stoppable(t.Context(), "x") },
		} {
			if doing == "offsets" && name == "no worker" || doing == "stoppable" && (name == "no such path" || name == "another's 404" || name == "another method") {
				continue // no offset was delivered; what is no path cannot be stopped
			}
			err := ask()
			for _, kind := range []error{fs.ErrNotExist, fs.ErrPermission, reach.ErrUnreachable, reach.ErrMisconfigured, reach.ErrThrottled} {
				if got := errors.Is(err, kind); got != errors.Is(tc.want, kind) {
					t.Errorf("%s: %s: %v: it is %q: %t", name, doing, err, kind, got)
				}
			}
			if reach.Unreachable(err) != reach.Unreachable(tc.want) || !strings.Contains(err.Error(), tc.c.base) {
				t.Errorf("%s: %s: %v: unreachable %t", name, doing, err, reach.Unreachable(err))
			}
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
	for _, bad := range []string{"", "127.0.0.1:8083", "ftp://x", "http://", "http://ops:s3cr3t@127.0.0.1:8083", "http://ops@127.0.0.1:8083"} {
		if _, err := NewWorker(bad, Login{}); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("address %q: %v", bad, err)
		}
	}
}

// A worker that cannot stop a connector is found before it is told to, and not by telling.
func TestStoppable(t *testing.T) {
	w := &worker{t: t, state: "RUNNING", tasks: 1}
	if err := serve(t, w).stoppable(t.Context(), "a/b"); err != nil || w.pending != nil {
		t.Errorf("stoppable = %v; told to stop: %t", err, w.pending != nil)
	}
	for name, code := range map[string]int{"before 3.5": 404, "behind a front": 405} {
		old := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			switch r.Method + " " + r.URL.Path {
			case "GET /":
				io.WriteString(rw, `{"version":"3.4.1","commit":"x","kafka_cluster_id":"y"}`)
			case "GET /connectors/x/status":
				io.WriteString(rw, `{"name":"x","connector":{"state":"RUNNING"},"tasks":[{"id":0,"state":"RUNNING"}]}`)
			case "PUT /connectors/x/stop":
				rw.WriteHeader(code)
				fmt.Fprintf(rw, `{"error_code":%d,"message":"HTTP %d %s"}`, code, code, http.StatusText(code))
			default:
				rw.WriteHeader(404)
				io.WriteString(rw, `{"error_code":404,"message":"HTTP 404 Not Found"}`)
			}
		}))
		_, stop := old.stop(t.Context(), "x")
		for doing, err := range map[string]error{"stoppable": old.stoppable(t.Context(), "x"), "stop": stop} {
			if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "3.4.1") {
				t.Errorf("%s: %s = %v, want that version 3.4.1 has no way to", name, doing, err)
			}
		}
	}
}

// A login in the way is no worker: a PUT that was sent to a page would be taken for done.
func TestLoginInTheWay(t *testing.T) {
	pages := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(rw http.ResponseWriter, _ *http.Request) { pages++; io.WriteString(rw, "<html>log in</html>") })
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "/login?token=s3cr3t", http.StatusFound)
	})
	c := serve(t, mux)
	_, status := c.status(t.Context(), "x")
	_, stop := c.stop(t.Context(), "x")
	for doing, err := range map[string]error{"status": status, "stop": stop, "put": c.Put(t.Context(), "x", nil), "stoppable": c.stoppable(t.Context(), "x")} {
		if !errors.Is(err, reach.ErrMisconfigured) || !strings.Contains(err.Error(), "/login") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s = %v, want where it leads to", doing, err)
		}
	}
	if pages > 0 {
		t.Errorf("the login's page was asked for %d times", pages)
	}
	page := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "<html>log in</html>") }))
	if err := page.Put(t.Context(), "x", nil); !errors.Is(err, reach.ErrMisconfigured) {
		t.Errorf("a page in answer to a change = %v; it would be taken for done", err)
	}
}

func TestLogin(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ops" || password != "s3cr3t-pw" {
			rw.WriteHeader(http.StatusUnauthorized)
			io.WriteString(rw, `{"error_code":401,"message":"User cannot access the resource."}`)
			return
		}
		rw.WriteHeader(http.StatusInternalServerError)
		io.WriteString(rw, `{"error_code":500,"message":"Request timed out"}`)
	}))
	defer s.Close()
	for name, tc := range map[string]struct {
		as   Login
		want error
		says string
	}{
		"nobody":   {Login{}, fs.ErrPermission, "name credentials of connect"},
		"another":  {Login{"ops", "s3cr3t-old"}, fs.ErrPermission, "401"},
		"the user": {Login{"ops", "s3cr3t-pw"}, reach.ErrThrottled, "Request timed out"},
	} {
		c, err := NewWorker(s.URL, tc.as)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.status(t.Context(), "x"); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v, want %v, %q in it, and no password", name, err, tc.want, tc.says)
		}
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(&worker{t: t, state: "RUNNING"})
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	for name, base := range map[string]string{"an unknown authority": s.URL, "plain HTTP": strings.Replace(s.URL, "https", "http", 1)} {
		c, err := NewWorker(base, Login{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.status(t.Context(), "a/b"); !errors.Is(err, reach.ErrMisconfigured) || reach.Unreachable(err) {
			t.Errorf("%s: %v, want misconfigured", name, err)
		}
	}
}
