package mm2

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

var (
	// errRebalancing means that the workers are just dividing their connectors
	// among themselves, or that the worker asked could not reach their leader.
	errRebalancing = errors.New("workers are rebalancing")

	// errPath means that the worker has no such path, and errMethod that it has, for
	// another method.
	errPath   = errors.New("there is no such path")
	errMethod = errors.New("the path is for another method")
)

// answer is an answer that is none of what was asked for: its text, and its kinds for
// errors.Is.
type answer struct {
	text  string
	kinds []error
}

func (e *answer) Error() string   { return e.text }
func (e *answer) Unwrap() []error { return e.kinds }

// noWorker is what answers in another way than a Connect worker does.
func (w *Worker) noWorker(path, why string) error {
	return fmt.Errorf("connect %s: %s: %w: %s; correct the estate's url of connect, or see what stands before the worker", w.base, path, reach.ErrMisconfigured, why)
}

// do sends a request, and again while the workers rebalance: a question for as long as
// w.patience, an order until ctx ends. into may be nil, and is untouched by an empty answer.
func (w *Worker) do(ctx context.Context, method, path string, body, into any) error {
	if method == http.MethodGet {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.patience)
		defer cancel()
	}
	var last error // that they still rebalance says more than that ctx ended
	if err := poll.Until(ctx, pollEvery, func(ctx context.Context) (bool, error) {
		last = w.once(ctx, method, path, body, into)
		return !errors.Is(last, errRebalancing), last
	}); err == nil {
		return nil
	}
	return last
}

// once sends a request once.
func (w *Worker) once(ctx context.Context, method, path string, body, into any) error {
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
	if w.user != "" {
		req.SetBasicAuth(w.user, w.password)
	}
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
	if err := refusal(res, text, w.user != ""); err != nil {
		return fail(err)
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) > 0 && !json.Valid(text): // also where no answer was wanted: it is somebody else's
		return w.noWorker(method+" "+path, fmt.Sprintf("the answer is no JSON (%.100q)", text))
	case into == nil || len(text) == 0:
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return w.noWorker(method+" "+path, fmt.Sprintf("the answer is no worker's (%.100q): %v", text, err))
	}
	return nil
}

// refusal turns a status into an error, with the worker's own words.
func refusal(res *http.Response, text []byte, named bool) error {
	status := res.StatusCode
	if status < 300 {
		return nil
	}
	var said struct {
		Message string `json:"message"`
	}
	own := json.Unmarshal(text, &said) == nil && said.Message != "" // the worker's, and not a front's
	if !own {
		said.Message = fmt.Sprintf("%.200s", bytes.TrimSpace(text))
	}
	words := fmt.Sprintf("%d %s: %s", status, http.StatusText(status), said.Message)
	is := func(what string, kinds ...error) error { return &answer{what + ": " + words, kinds} }
	wrong := func(what string, kinds ...error) error {
		return is("misconfigured: "+what, append(kinds, reach.ErrMisconfigured)...)
	}
	switch {
	case status < 400:
		words = fmt.Sprint(status) // its page may name what a login put there
		return wrong("it sends us to " + elsewhere(res) + "; correct the estate's url of connect, or see what stands before the worker")
	case strings.Contains(said.Message, "HTTP request to an HTTPS server"):
		return wrong("plain HTTP to a TLS port; write https:// in the estate's url of connect")
	case status == http.StatusNotFound && own && said.Message != noRoute:
		return is(fs.ErrNotExist.Error(), fs.ErrNotExist)
	case status == http.StatusNotFound:
		return wrong(errPath.Error(), errPath)
	case status == http.StatusMethodNotAllowed:
		return wrong(errMethod.Error(), errMethod)
	case status == http.StatusUnauthorized && !named:
		return is("permission denied, for nobody asks; name credentials of connect in the estate", fs.ErrPermission)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return is("permission denied", fs.ErrPermission)
	case status == http.StatusConflict,
		status == http.StatusInternalServerError && strings.Contains(said.Message, "rebalance"):
		return is(errRebalancing.Error(), errRebalancing, reach.ErrThrottled)
	case status == http.StatusTooManyRequests,
		status == http.StatusServiceUnavailable && own,
		status == http.StatusInternalServerError && strings.HasPrefix(said.Message, "Request timed out"):
		return is(reach.ErrThrottled.Error(), reach.ErrThrottled)
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return is(reach.ErrUnreachable.Error(), reach.ErrUnreachable)
	}
	return errors.New(words)
}

// noRoute is what a worker says of a path that it does not have; of a connector that it
// does not know it says something else.
const noRoute = "HTTP 404 Not Found"

// elsewhere is where an answer leads to, without what a login may have put there.
func elsewhere(res *http.Response) string {
	to, err := res.Location()
	if err != nil {
		return "nowhere"
	}
	return to.Scheme + "://" + to.Host + to.Path
}
