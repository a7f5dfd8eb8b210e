package mm2

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"breakwater/internal/credential"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

const (
	// A worker that is there accepts at once and tells states at once, but does
	// one thing after another: with a dead source each stop may take a minute, and
	// all that is asked meanwhile waits. Its own limit for an answer is 90 s.
	dialTimeout = 3 * time.Second
	readTimeout = 30 * time.Second // a worker whose connectors wait for a dead source is slow to answer
	workTimeout = 100 * time.Second
	settling    = 30 * time.Second // what a rebalance may take before a question gives up

	pollEvery = 100 * time.Millisecond
	maxAnswer = 32 << 20
)

// The states of a connector or task, as Connect names them. There are more.
const (
	running = "RUNNING"
	stopped = "STOPPED"
	paused  = "PAUSED"
)

// Worker is a client of a Kafka Connect worker, or of a balancer in front of
// several: it asks about connectors over REST, and stops and resumes them.
//
// An unknown connector is fs.ErrNotExist, a refusal fs.ErrPermission; a worker
// that does not answer carries reach.ErrUnreachable, one that is busy reach.ErrThrottled,
// and what is no worker, or stands before it, reach.ErrMisconfigured.
type Worker struct {
	base           string
	http           *http.Client
	user, password string
	patience       time.Duration
}

// Login is who asks a worker, or what stands before it, by HTTP's basic authentication.
// The zero value is nobody.
type Login struct{ User, Password string }

// NewWorker makes a client for a worker's address such as http://127.0.0.1:8083.
func NewWorker(base string, as Login) (*Worker, error) {
	u, err := url.Parse(base)
	if err == nil && u.User != nil {
		return nil, fmt.Errorf("connect worker %s: its address holds a user, which would be shown wherever the address is; name credentials in the estate instead", u.Host)
	}
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		if strings.Contains(base, "@") {
			base = "…" + base[strings.LastIndex(base, "@"):] // what stands before it may be a password
		}
		return nil, fmt.Errorf("connect worker %q: want http://host:port", base)
	}
	// Nobody, a colon and no password, is no credential.
	login := ""
	if as.User != "" {
		login = as.User + ":" + as.Password
	}
	return &Worker{strings.TrimRight(base, "/"), &http.Client{
		Transport: credential.Repeated(&http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext}, as.Password, login),
		// A worker sends nobody elsewhere. A login does, and a PUT that follows it becomes
		// the GET of a page.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, as.User, as.Password, settling}, nil
}

// status is a connector's state.
type status struct {
	Connector struct {
		State string `json:"state"`
	} `json:"connector"`
	Tasks []task `json:"tasks"`
}

// task is one of a connector's tasks.
type task struct {
	ID    int    `json:"id"`
	State string `json:"state"`
}

// ended reports whether nothing runs any more.
func (s status) ended() bool { return s.Connector.State == stopped && len(s.Tasks) == 0 }

// works reports whether the connector and all its tasks, at least one, run.
func (s status) works() bool { return len(s.Tasks) > 0 && s.runs() }

// runs reports whether the connector runs, and what tasks it has.
func (s status) runs() bool {
	for _, t := range s.Tasks {
		if t.State != running {
			return false
		}
	}
	return s.Connector.State == running
}

func (s status) String() string {
	out := s.Connector.State
	for _, t := range s.Tasks {
		out += fmt.Sprintf(", task %d %s", t.ID, t.State)
	}
	return out
}

// Names lists the connectors.
func (w *Worker) Names(ctx context.Context) ([]string, error) {
	var names []string
	return names, w.do(ctx, http.MethodGet, "/connectors", nil, &names)
}

// Put creates a connector or replaces its configuration.
func (w *Worker) Put(ctx context.Context, name string, config map[string]string) error {
	return w.do(ctx, http.MethodPut, path(name, "config"), config, nil)
}

// config reads a connector's configuration, as it was put.
func (w *Worker) config(ctx context.Context, name string) (map[string]string, error) {
	var config map[string]string
	if err := w.do(ctx, http.MethodGet, path(name, "config"), nil, &config); err != nil {
		return nil, err
	}
	if config["connector.class"] == "" {
		return nil, w.noWorker(path(name, "config"), "the answer has no connector.class")
	}
	return config, nil
}

// status asks for the state of a connector and its tasks.
func (w *Worker) status(ctx context.Context, name string) (status, error) {
	var s status
	if err := w.do(ctx, http.MethodGet, path(name, "status"), nil, &s); err != nil {
		return status{}, err
	}
	if s.Connector.State == "" {
		return status{}, w.noWorker(path(name, "status"), "the answer has no state")
	}
	return s, nil
}

// stop stops a connector and waits until it and all its tasks have ended, or ctx
// has. Its configuration and offsets stay, and stopping it again changes nothing.
//
// Stopping is asynchronous: a worker answers 204 while tasks still run.
func (w *Worker) stop(ctx context.Context, name string) (status, error) {
	return w.change(ctx, name, "stop", status.ended)
}

// resume starts a stopped or paused connector and waits until it and all its
// tasks run, at least one if it is not idle, or ctx has ended.
func (w *Worker) resume(ctx context.Context, name string, idle bool) (status, error) {
	if idle {
		return w.change(ctx, name, "resume", status.runs)
	}
	return w.change(ctx, name, "resume", status.works)
}

func (w *Worker) change(ctx context.Context, name, verb string, done func(status) bool) (status, error) {
	if err := w.do(ctx, http.MethodPut, path(name, verb), nil, nil); (errors.Is(err, errPath) || errors.Is(err, errMethod)) && verb == "stop" {
		return status{}, w.unstoppable(ctx, name)
	} else if err != nil {
		return status{}, err
	}
	var last status // an answer that ctx broke off says nothing
	var fatal bool
	err := poll.Until(ctx, pollEvery, func(ctx context.Context) (bool, error) {
		// A fresh worker may not have the status yet, and a rebalance hides it.
		s, err := w.status(ctx, name)
		switch {
		case err == nil:
			last = s
			return done(s), nil
		case ctx.Err() == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errRebalancing):
			fatal = true
			return true, err
		}
		return false, err
	})
	switch {
	case fatal:
		return status{}, err
	case err != nil && last.Connector.State != "" && !errors.Is(err, context.Canceled):
		// The worker answers: what did not come about is no silence.
		return last, fmt.Errorf("connect %s: %s %s: %w: it is still %q; look at the traces of its tasks there", w.base, verb, name, mirror.ErrStill, last)
	case err != nil:
		return last, fmt.Errorf("connect %s: %s %s: it is still %q: %w", w.base, verb, name, last, err)
	}
	return last, nil
}

// stoppable asks whether the worker knows how to stop a connector, and stops none. A path
// that is there refuses to be read; workers before Kafka 3.5 have no such path.
func (w *Worker) stoppable(ctx context.Context, name string) error {
	err := w.do(ctx, http.MethodGet, path(name, "stop"), nil, nil)
	switch {
	case errors.Is(err, errMethod):
		return nil
	case errors.Is(err, errPath):
		return w.unstoppable(ctx, name)
	case err == nil:
		return w.noWorker(path(name, "stop"), "a question was taken for an order")
	}
	return err
}

// unstoppable names the worker that cannot stop its connectors.
func (w *Worker) unstoppable(ctx context.Context, name string) error {
	var is struct {
		Version string `json:"version"`
	}
	version := "of an unknown version"
	if w.do(ctx, http.MethodGet, "/", nil, &is) == nil && is.Version != "" {
		version = is.Version
	}
	return fmt.Errorf("connect %s: stop %s: %w: the worker (%s) has no PUT %s, which Kafka has from 3.5 on; upgrade the workers, or stop their processes by hand",
		w.base, name, errors.ErrUnsupported, version, path(name, "stop"))
}

// The JSON of a mirror's offsets.
type offsets struct {
	Offsets []offset `json:"offsets"`
}

type offset struct {
	Partition struct {
		Cluster   string `json:"cluster"`
		Partition int32  `json:"partition"`
		Topic     string `json:"topic"`
	} `json:"partition"`
	Offset *struct {
		Offset int64 `json:"offset"`
	} `json:"offset"`
}

// delivered reads how far a MirrorSourceConnector has come: the first offset of each
// partition of its source that was not delivered. The worker flushes them every
// offset.flush.interval.ms, so of a running connector they are old.
func (w *Worker) delivered(ctx context.Context, name string) (map[kafka.Partition]int64, error) {
	var in offsets
	if err := w.do(ctx, http.MethodGet, path(name, "offsets"), nil, &in); err != nil {
		return nil, err
	}
	next := make(map[kafka.Partition]int64, len(in.Offsets))
	for _, o := range in.Offsets {
		if o.Partition.Topic == "" || o.Offset == nil {
			return nil, fmt.Errorf("connect %s: offsets of %s: %w: %+v is no mirrored partition: is it a MirrorSourceConnector?", w.base, name, reach.ErrMisconfigured, o)
		}
		next[kafka.Partition{Topic: o.Partition.Topic, ID: o.Partition.Partition}] = o.Offset.Offset + 1
	}
	return next, nil
}

func path(name, what string) string { return "/connectors/" + url.PathEscape(name) + "/" + what }
