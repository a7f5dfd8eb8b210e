package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"breakwater/internal/reach"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/temporalerr"
	"breakwater/runbooks"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"
)

// Logger writes to w in the form that the settings say.
func (c Config) Logger(w io.Writer) (*slog.Logger, error) {
	level, err := c.level()
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Log == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// RunbookFS holds the runbook files, and From says where they are for people.
func (c Config) RunbookFS() fs.FS {
	if c.Runbooks == "" {
		return runbooks.FS
	}
	return os.DirFS(c.Runbooks)
}

// From says where the runbooks come from.
func (c Config) From() string {
	if c.Runbooks == "" {
		return "the runbooks built in"
	}
	return c.Runbooks
}

// Books reads the runbooks, each by its own words alone: package runbook/load
// lints. All mistakes come at once.
func (c Config) Books() ([]*runbook.Runbook, []runbook.Mistake) { return load.FS(c.RunbookFS()) }

// temporal is how to connect: from the temporal CLI's profiles and its
// variables. An address that is said nowhere is the CLI's default.
func (c Config) temporal(logger log.Logger) (client.Options, error) {
	o, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{ConfigFileProfile: c.Profile})
	if err != nil {
		return o, fmt.Errorf("%w: read the temporal profile %q: %w; list them with: temporal config list", ErrBad, c.profile(), err)
	}
	if o.HostPort == "" {
		o.HostPort = client.DefaultHostPort
	}
	if o.Namespace == "" {
		o.Namespace = client.DefaultNamespace
	}
	o.Logger = logger
	return o, nil
}

func (c Config) profile() string {
	if c.Profile == "" {
		return envconfig.DefaultConfigFileProfile
	}
	return c.Profile
}

// Dial connects to Temporal and waits for its answer. Whatever the cause, the
// error says which server was asked, and is marked as unreachable where no
// answer came.
func (c Config) Dial(ctx context.Context, logger log.Logger) (client.Client, client.Options, error) {
	o, err := c.temporal(logger)
	if err != nil {
		return nil, o, err
	}
	cl, err := client.DialContext(ctx, o)
	if errors.Is(err, context.Canceled) {
		return nil, o, err
	}
	if err != nil {
		err = temporalerr.Mark(err)
		if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, reach.ErrUnreachable) { // in words of its own
			err = fmt.Errorf("%w: %w", reach.ErrUnreachable, err)
		}
		next := "see its answer, and correct TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS or TEMPORAL_API_KEY"
		if reach.Unreachable(err) {
			next = "is it running, and is TEMPORAL_ADDRESS right?"
		}
		return nil, o, fmt.Errorf("connect to Temporal at %s, namespace %s (profile %s): %w; %s", o.HostPort, o.Namespace, c.profile(), err, next)
	}
	return cl, o, nil
}
