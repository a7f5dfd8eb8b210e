package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"breakwater/activities"
	"breakwater/activities/host"
	"breakwater/internal/config"
	"breakwater/internal/mistake"
	"breakwater/internal/plural"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/reach"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/system"
	"breakwater/internal/wire"
	"breakwater/workflows"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
)

// stopTimeout is how long activities may finish after SIGTERM.
const stopTimeout = 30 * time.Second

// retryEvery is how long to wait between attempts to reach Temporal at start.
const retryEvery = time.Second

// queriesAtOnce is how many steps a process of queries works on at the same time:
// each may take the engine's memory.
const queriesAtOnce = 2

// prepared is what a worker serves, found to be whole.
type prepared struct {
	systems *system.Systems
	host    *host.Host
	names   []string // of the runbooks
}

// prepare reads and checks all that can be checked without a server. Its error
// holds everything that is wrong.
func prepare(cfg config.Config) (*prepared, error) {
	var errs []error
	if cfg.Estates == "" {
		errs = append(errs, fmt.Errorf("%w: estates is missing: name the folder of the estates with --estates DIR or BREAKWATER_ESTATES", config.ErrBad))
	}
	p := &prepared{systems: &system.Systems{Folder: cfg.Estates}}
	catalogue := activities.Catalogue(p.systems)
	errs = append(errs, catalogue.Err())
	books, ms := load.Lint(cfg.RunbookFS(), catalogue, nil)
	for i := range ms { // as an editor opens them
		ms[i].At.File = filepath.Join(cfg.Runbooks, ms[i].At.File)
	}
	if err := mistake.Error(ms); err != nil {
		errs = append(errs, fmt.Errorf("%s in %s; nothing is served until they are mended:\n%w", plural.Of(len(ms), "mistake"), cfg.From(), err))
	}
	if len(books) == 0 && len(ms) == 0 {
		errs = append(errs, fmt.Errorf("%w: %s holds no *.yaml runbook, so there is nothing to serve", config.ErrBad, cfg.From()))
	}
	p.host = &host.Host{Catalogue: catalogue, Runbooks: books, Estates: p.systems}
	p.names = names(books)
	return p, errors.Join(errs...)
}

func names(books []*runbook.Runbook) []string {
	var ns []string
	for _, rb := range books {
		ns = append(ns, rb.Name)
	}
	return ns
}

// serve runs a worker until ctx ends, then lets it stop gracefully. It calls
// ready, if there is one, when the worker polls.
func serve(ctx context.Context, cfg config.Config, logger *slog.Logger, wait time.Duration, ready func()) error {
	p, err := prepare(cfg)
	if err != nil {
		return err
	}
	c, at, err := dial(ctx, cfg, logger, wait)
	if err != nil {
		return err
	}
	defer c.Close()
	defer p.systems.Close()
	p.systems.Temporal = c
	if err := ensureAttributes(ctx, c, at.Namespace); err != nil {
		return err
	}
	broken := make(chan error, 1)
	options := worker.Options{
		Interceptors:                []interceptor.WorkerInterceptor{&host.Interceptor{}},
		DisableRegistrationAliasing: true,
		WorkerStopTimeout:           stopTimeout,
		// A dead worker is noticed by its silence, so an activity's heartbeat must
		// not be held back for long.
		MaxHeartbeatThrottleInterval: time.Second,
		OnFatalError: func(err error) {
			select {
			case broken <- err:
			default: // one is enough
			}
		},
	}
	var workers []worker.Worker
	if cfg.Serves("workflows") || cfg.Serves("activities") {
		o := options
		o.DisableWorkflowWorker = !cfg.Serves("workflows")
		o.LocalActivityWorkerOnly = !cfg.Serves("activities")
		w := worker.New(c, cfg.TaskQueue, o)
		if cfg.Serves("workflows") {
			workflows.Register(w, p.names)
		}
		if cfg.Serves("activities") {
			p.host.Register(w)
		}
		workers = append(workers, w)
	}
	if cfg.Serves("queries") {
		p.systems.Engine = duckdb.Engine{}
		o := options
		o.DisableWorkflowWorker = true
		o.MaxConcurrentActivityExecutionSize = queriesAtOnce
		w := worker.New(c, wire.QueryQueue(cfg.TaskQueue), o)
		p.host.RegisterQueries(w)
		workers = append(workers, w)
	}
	for _, w := range workers {
		if err := w.Start(); err != nil {
			return fmt.Errorf("start the worker at %s, namespace %s, task queue %s: %w", at.HostPort, at.Namespace, cfg.TaskQueue, err)
		}
		defer w.Stop()
	}
	logger.Info("serving", "what", cfg.Serve, "runbooks", p.names, "estates", cfg.Estates, "task_queue", cfg.TaskQueue,
		"temporal", at.HostPort, "namespace", at.Namespace, "version", config.Version())
	if ready != nil {
		ready()
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping: what runs may finish", "within", stopTimeout.String())
		return nil
	case err := <-broken:
		return fmt.Errorf("the worker broke: %w", err)
	}
}

// dial connects to Temporal, again and again for as long as it does not answer
// and wait is not over: at a start of everything the server may come later.
func dial(ctx context.Context, cfg config.Config, logger *slog.Logger, wait time.Duration) (client.Client, client.Options, error) {
	until := time.Now().Add(wait)
	for {
		c, options, err := cfg.Dial(ctx, log.NewStructuredLogger(logger))
		if err == nil || !reach.Unreachable(err) || time.Now().After(until) {
			return c, options, err
		}
		logger.Warn("Temporal does not answer yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, options, err
		case <-time.After(retryEvery):
		}
	}
}
