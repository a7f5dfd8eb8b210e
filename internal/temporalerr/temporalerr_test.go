package temporalerr_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"breakwater/internal/reach"
	"breakwater/internal/temporalerr"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// is demands one class of an error, and no other.
func is(t *testing.T, err, want error) {
	t.Helper()
	for _, c := range []error{reach.ErrUnreachable, reach.ErrMisconfigured, reach.ErrThrottled, fs.ErrPermission, fs.ErrNotExist} {
		if got := errors.Is(err, c); got != errors.Is(want, c) {
			t.Errorf("%v: it is %q: %t", err, c, got)
		}
	}
	if reach.Unreachable(err) != reach.Unreachable(want) {
		t.Errorf("%v: unreachable is %t", err, reach.Unreachable(err))
	}
}

// What the client says of servers that are not what was expected.
func TestAnswersInAnotherWay(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>log in</html>") })
	secure := httptest.NewUnstartedServer(page)
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(page)
	t.Cleanup(plain.Close)
	serve := func(o ...grpc.ServerOption) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		g := grpc.NewServer(o...)
		go func() {
			if err := g.Serve(l); err != nil {
				t.Error(err)
			}
		}()
		t.Cleanup(g.Stop)
		return l.Addr().String()
	}
	frontend := serve(grpc.Creds(credentials.NewServerTLSFromCert(&secure.TLS.Certificates[0])))
	for name, tc := range map[string]struct {
		at   string
		tls  *tls.Config
		want error
		says string
	}{
		"an authority of its own":  {frontend, &tls.Config{}, reach.ErrMisconfigured, "not trusted"},
		"no TLS to who wants it":   {frontend, nil, reach.ErrUnreachable, "wants TLS"},
		"TLS to who has none":      {serve(), &tls.Config{}, reach.ErrMisconfigured, "does not speak TLS"},
		"another service":          {serve(), nil, reach.ErrMisconfigured, "no Temporal frontend"},
		"a page":                   {secure.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true}, reach.ErrMisconfigured, "no Temporal frontend"},
		"a web server without TLS": {plain.Listener.Addr().String(), nil, reach.ErrMisconfigured, "HTTP/1.1"},
		"nobody":                   {"127.0.0.1:1", nil, reach.ErrUnreachable, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := client.Options{HostPort: tc.at, Logger: quiet{}, ConnectionOptions: client.ConnectionOptions{TLS: tc.tls}}
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			_, dial := client.DialContext(ctx, o)
			lazy, err := client.NewLazyClient(o)
			if err != nil {
				t.Fatal(err)
			}
			defer lazy.Close()
			_, ask := lazy.DescribeWorkflowExecution(ctx, "x", "")
			for _, err := range []error{dial, ask} {
				if err == nil {
					t.Fatal("it is no error")
				}
				err = temporalerr.Mark(fmt.Errorf("ask: %w", err))
				is(t, err, tc.want)
				if !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%v; want %q in it", err, tc.says)
				}
			}
		})
	}
}

// What a frontend answers, as the client hands it on.
func TestRefusals(t *testing.T) {
	answer := func(code codes.Code, text string) error { return serviceerror.FromStatus(status.New(code, text)) }
	for name, tc := range map[string]struct{ err, want error }{
		"nil":                   {nil, nil},
		"no such workflow":      {serviceerror.NewNotFound("workflow not found"), fs.ErrNotExist},
		"no such namespace":     {serviceerror.NewNamespaceNotFound("nosuch"), reach.ErrMisconfigured},
		"denied":                {serviceerror.NewPermissionDenied("Request unauthorized.", ""), fs.ErrPermission},
		"nobody asks":           {answer(codes.Unauthenticated, "missing api key"), fs.ErrPermission},
		"too many requests":     {answer(codes.ResourceExhausted, "namespace rate limit exceeded"), reach.ErrThrottled},
		"away":                  {serviceerror.NewUnavailable("shard unavailable"), reach.ErrUnreachable},
		"late":                  {serviceerror.NewDeadlineExceeded("deadline"), reach.ErrUnreachable},
		"a gateway":             {serviceerror.NewUnavailable(`unexpected HTTP status code received from server: 503 (Service Unavailable); transport: received unexpected content-type "text/html"`), reach.ErrUnreachable},
		"it is ours":            {serviceerror.NewInvalidArgument("no such attribute"), nil},
		"we stopped asking":     {context.Canceled, nil},
		"a wish for a cert":     {serviceerror.NewUnavailable(`connection error: desc = "error reading server preface: remote error: tls: certificate required"`), reach.ErrMisconfigured},
		"marked already":        {fmt.Errorf("%w: x", reach.ErrThrottled), reach.ErrThrottled},
		"marked as unreachable": {fmt.Errorf("%w: looked like an HTTP/1.1 header", reach.ErrUnreachable), reach.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			err := temporalerr.Mark(tc.err)
			is(t, err, tc.want)
			if !errors.Is(err, tc.err) {
				t.Errorf("the cause is lost: %v", err)
			}
		})
	}
}
