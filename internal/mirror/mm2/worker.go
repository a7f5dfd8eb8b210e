package mm2

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"breakwater/internal/kafka"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

const (
	// A worker that is there accepts at once and tells states at once, but does
	// one thing after another: with a dead source each stop may take a minute, and
	// all that is asked meanwhile waits. Its own limit for an answer is 90 s.
	dialTimeout = 3 * time.Second
	readTimeout = 5 * time.Second
	workTimeout = 100 * time.Second

	pollEvery = 100 * time.Millisecond
	maxAnswer = 32 << 20
)

// errRebalancing means that the workers are just dividing their connectors
// among themselves, or that the worker asked could not reach their leader.
var errRebalancing = errors.New("workers are rebalancing")

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
// that does not answer carries reach.ErrUnreachable.
type Worker struct {
	base string
	http *http.Client
}

// NewWorker makes a client for a worker's address such as http://127.0.0.1:8083. The
// HTTP client may carry TLS and authentication; nil for a plain one.
func NewWorker(base string, with *http.Client) (*Worker, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("connect worker %q: want http://host:port", base)
	}
	if with == nil {
		with = &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext}}
	}
	return &Worker{strings.TrimRight(base, "/"), with}, nil
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
func (s status) works() bool {
	for _, t := range s.Tasks {
		if t.State != running {
			return false
		}
	}
	return s.Connector.State == running && len(s.Tasks) > 0
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
	return w.settled(ctx, func(ctx context.Context) error {
		return w.do(ctx, http.MethodPut, path(name, "config"), config, nil)
	})
}

// config reads a connector's configuration, as it was put.
func (w *Worker) config(ctx context.Context, name string) (map[string]string, error) {
	var config map[string]string
	if err := w.do(ctx, http.MethodGet, path(name, "config"), nil, &config); err != nil {
		return nil, err
	}
	if config["connector.class"] == "" {
		return nil, fmt.Errorf("connect %s: config of %s: the answer has no connector.class: is this a Connect worker?", w.base, name)
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
		return status{}, fmt.Errorf("connect %s: status of %s: the answer has no state: is this a Connect worker?", w.base, name)
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
// tasks run, or ctx has ended.
func (w *Worker) resume(ctx context.Context, name string) (status, error) {
	return w.change(ctx, name, "resume", status.works)
}

func (w *Worker) change(ctx context.Context, name, verb string, done func(status) bool) (status, error) {
	if err := w.settled(ctx, func(ctx context.Context) error {
		return w.do(ctx, http.MethodPut, path(name, verb), nil, nil)
	}); err != nil {
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
	case err != nil:
		return last, fmt.Errorf("connect %s: %s %s: it is still %q: %w", w.base, verb, name, last, err)
	}
	return last, nil
}

// settled repeats a request while the workers rebalance.
func (w *Worker) settled(ctx context.Context, do func(context.Context) error) error {
	var last error // that they still rebalance says more than that ctx ended
	if err := poll.Until(ctx, pollEvery, func(ctx context.Context) (bool, error) {
		last = do(ctx)
		return !errors.Is(last, errRebalancing), last
	}); err == nil {
		return nil
	}
	return last
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
			return nil, fmt.Errorf("connect %s: offsets of %s: %+v is no mirrored partition: is it a MirrorSourceConnector?", w.base, name, o)
		}
		next[kafka.Partition{Topic: o.Partition.Topic, ID: o.Partition.Partition}] = o.Offset.Offset + 1
	}
	return next, nil
}

func path(name, what string) string { return "/connectors/" + url.PathEscape(name) + "/" + what }

// do sends one request. into may be nil, and is untouched by an empty answer.
func (w *Worker) do(ctx context.Context, method, path string, body, into any) error {
	fail := func(err error) error {
		return fmt.Errorf("connect %s: %s %s: %w", w.base, method, path, err)
	}
	timeout := workTimeout
	if method == http.MethodGet {
		timeout = readTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fail(err)
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, send)
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := w.http.Do(req)
	if err != nil {
		return fail(reach.Mark(err))
	}
	defer res.Body.Close() //nolint:errcheck // read
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		// The answer broke off: what it would have said is not known.
		return fail(fmt.Errorf("%w: %w", reach.ErrUnreachable, err))
	}
	if err := refusal(res.StatusCode, text); err != nil {
		return fail(err)
	}
	if into == nil || len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fail(fmt.Errorf("read the answer %.200q: %w", text, err))
	}
	return nil
}

// refusal turns a status into an error, with the worker's own words.
func refusal(status int, text []byte) error {
	if status < 300 {
		return nil
	}
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &said) != nil || said.Message == "" {
		said.Message = fmt.Sprintf("%.200s", text)
	}
	err := fmt.Errorf("%d %s: %s", status, http.StatusText(status), said.Message)
	switch status {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	case http.StatusConflict:
		return fmt.Errorf("%w: %w", errRebalancing, err)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("%w: %w", reach.ErrUnreachable, err)
	}
	return err
}
