package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"breakwater/internal/temporalerr"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
)

// patience is how long a single question to Temporal may take. A query needs a
// worker, which may be starting.
const patience = 10 * time.Second

// temporal connects once.
func (a *app) temporal(ctx context.Context) (client.Client, error) {
	if a.temp != nil {
		return a.temp, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, o, err := a.cfg.Dial(ctx, quiet{})
	if err != nil {
		return nil, err
	}
	a.temp, a.options = c, o
	a.systems.Temporal = c
	return c, nil
}

// quiet drops what the SDK logs: the command says what matters itself.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

var _ log.Logger = quiet{}

// name is a run as a person gives it: a workflow id, or workflow/first-run.
type name struct{ workflow, first string }

var runID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// parseName splits off a first run's id. A workflow id may hold slashes itself.
func parseName(text string) name {
	if i := strings.LastIndexByte(text, '/'); i > 0 && runID.MatchString(text[i+1:]) {
		return name{text[:i], text[i+1:]}
	}
	return name{workflow: text}
}

func (n name) String() string { return n.workflow }

// isNotFound reports whether Temporal knows no such run.
func isNotFound(err error) bool {
	var missing *serviceerror.NotFound
	return errors.As(err, &missing)
}

// noWorker reports whether a query failed only because no worker answered it.
func noWorker(err error) bool {
	var failed *serviceerror.QueryFailed
	var precondition *serviceerror.FailedPrecondition
	var deadline *serviceerror.DeadlineExceeded
	switch {
	case errors.As(err, &failed):
		return false
	case errors.As(err, &deadline), errors.As(err, &precondition), errors.Is(err, context.DeadlineExceeded):
		return true
	}
	return false
}

// explain words an error of Temporal about a run.
func (a *app) explain(doing string, n name, err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case isNotFound(err):
		return wrong(errUsage, "breakwater runs", "%s: Temporal at %s knows no run %q in namespace %s", doing, a.options.HostPort, n, a.options.Namespace)
	case noWorker(err):
		return wrong(errUnknown, "breakwater-worker --estates DIR", "%s: no worker answered for run %s within %s; the run is safe and waits for one on task queue %s",
			doing, n, patience, a.cfg.TaskQueue)
	}
	return fmt.Errorf("%s: run %s: %w", doing, n, temporalerr.Mark(err))
}

// status asks a run what it is doing.
func (a *app) status(ctx context.Context, n name) (wire.Status, error) {
	var s wire.Status
	c, err := a.temporal(ctx)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := c.QueryWorkflow(ctx, n.workflow, "", wire.QueryStatus)
	if err == nil {
		err = v.Get(&s)
	}
	if err == nil && n.first != "" && s.Run.FirstRun != "" && s.Run.FirstRun != n.first {
		return s, wrong(errUsage, cmd("report", n.workflow+"/"+n.first), "run %s is %s/%s now; %s is an earlier one, of which the ledger has the evidence", n, s.Run.Workflow, s.Run.FirstRun, n.first)
	}
	return s, a.explain("ask what the run is doing", n, err)
}

// closing is what Temporal itself knows of a run, without any worker.
type closing struct {
	Open   bool
	Status string // of the workflow: Running, Completed, Failed, …
	Type   string // the runbook
	Result wire.Result
	How    string // the error type with which it ended
	Why    string
}

// describe asks Temporal how a run stands.
func (a *app) describe(ctx context.Context, n name) (closing, error) {
	c, err := a.temporal(ctx)
	if err != nil {
		return closing{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d, err := c.DescribeWorkflowExecution(ctx, n.workflow, "")
	if err != nil {
		return closing{}, a.explain("describe the run", n, err)
	}
	info := d.GetWorkflowExecutionInfo()
	out := closing{Status: info.GetStatus().String(), Type: info.GetType().GetName()}
	if info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		out.Open = true
		return out, nil
	}
	err = c.GetWorkflow(ctx, n.workflow, info.GetExecution().GetRunId()).Get(ctx, &out.Result)
	var app *temporal.ApplicationError
	switch {
	case err == nil:
	case errors.As(err, &app):
		out.How, out.Why = app.Type(), app.Message()
		if !app.HasDetails() || app.Details(&out.Result) != nil {
			out.Result = wire.Result{Verdict: verdict.Fail, Summary: app.Message()}
		}
	default: // terminated, timed out or cancelled: nothing was concluded
		out.How, out.Why = out.Status, err.Error()
	}
	return out, nil
}

// polled says whether any worker polls the task queue; unknown counts as yes.
func (a *app) polled(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d, err := a.temp.DescribeTaskQueue(ctx, a.cfg.TaskQueue, enums.TASK_QUEUE_TYPE_WORKFLOW)
	return err != nil || len(d.GetPollers()) > 0
}

// link is the run's page in Temporal's UI, or empty.
func (a *app) link(n name) string {
	if a.cfg.UI == "" {
		return ""
	}
	return fmt.Sprintf("%s/namespaces/%s/workflows/%s", strings.TrimSuffix(a.cfg.UI, "/"), a.options.Namespace, n.workflow)
}

// list asks visibility for runs; missing attributes mean that no worker ever
// served this namespace.
func (a *app) list(ctx context.Context, query string, most int) ([]*workflowservice.ListWorkflowExecutionsResponse, error) {
	c, err := a.temporal(ctx)
	if err != nil {
		return nil, err
	}
	var pages []*workflowservice.ListWorkflowExecutionsResponse
	var token []byte
	for n := 0; n < most; {
		actx, cancel := context.WithTimeout(ctx, patience)
		p, err := c.ListWorkflow(actx, &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: int32(min(most-n, 100)), NextPageToken: token}) // at most 100
		cancel()
		var bad *serviceerror.InvalidArgument
		if errors.As(err, &bad) {
			return nil, wrong(errUnknown, "breakwater-worker --estates DIR", "list runs in namespace %s: %w; a worker registers the search attributes when it starts", a.options.Namespace, err)
		}
		if err != nil {
			return nil, fmt.Errorf("list runs at %s: %w", a.options.HostPort, temporalerr.Mark(err))
		}
		pages = append(pages, p)
		n += len(p.GetExecutions())
		if token = p.GetNextPageToken(); len(token) == 0 {
			break
		}
	}
	return pages, nil
}

// keyword reads a search attribute of type Keyword.
func keyword(p *workflowservice.ListWorkflowExecutionsResponse, i int, key string) string {
	var s string
	if v, ok := p.GetExecutions()[i].GetSearchAttributes().GetIndexedFields()[key]; ok {
		if err := json.Unmarshal(v.GetData(), &s); err != nil {
			return ""
		}
	}
	return s
}
