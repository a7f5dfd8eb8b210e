package failover

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"breakwater/internal/objectstore/s3"
	"breakwater/lab"
	"breakwater/lab/leaks"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"
)

// Leaks looks for credentials in what a run has left behind for others to read: the
// histories of all workflows, the ledger, the witness's journal, the logs of every
// process, the reports in the folder, and what the product's commands have printed. It is
// an error where one of these is not there to be looked at.
func (s *Session) Leaks(ctx context.Context, search *leaks.Search, run, reports string) ([]leaks.Finding, error) {
	e, err := s.Estate()
	if err != nil {
		return nil, err
	}
	journal, err := e.RealBucket(e.Witness.Bucket, lab.Standby)
	if err != nil {
		return nil, err
	}
	l := &looking{Session: s, Search: search}
	l.at(3, "history", func() error { return l.histories(ctx) })
	l.at(100, "ledger", func() error { return l.objects(ctx, lab.Third, e.Ledger.Bucket, "") })
	l.at(3, "journal", func() error { return l.objects(ctx, lab.Standby, journal, e.Witness.Prefix) })
	l.at(10, "log", func() error {
		return errors.Join(l.files(filepath.Join(s.Lab.Dir, "logs"), ""), l.files(filepath.Join(s.Lab.Dir, "data"), "-*.log"))
	})
	l.at(3, "report", func() error { return l.files(reports, "") })
	l.at(15, "output", func() error { return l.outputs(ctx, run) })
	return l.found, errors.Join(l.errs...)
}

// looking is a search under way.
type looking struct {
	*Session
	*leaks.Search
	place  string
	looked int // at how many things there
	found  []leaks.Finding
	errs   []error
}

// at looks at a place, in which so many things at least must be looked at.
func (l *looking) at(least int, place string, look func() error) {
	l.place, l.looked = place, 0
	err := look()
	if err == nil && l.looked < least {
		err = fmt.Errorf("there are only %d things to look at, and %d at least should be there", l.looked, least)
	}
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("look for credentials in the %s: %w", place, err))
	}
}

func (l *looking) in(where string, text []byte) {
	l.looked++
	l.found = append(l.found, l.In(l.place, where, text)...)
}

// message looks at what a server says as it says it: a payload is not compressed, so that
// nothing has to be decoded.
func (l *looking) message(where string, m proto.Message) error {
	raw, err := proto.Marshal(m)
	l.in(where, raw)
	return err
}

// histories looks into every event of every workflow, with its payloads and failures;
// into what the server says of a workflow beside that: memos, search attributes, what
// running activities noted; into every Schedule; and into the server's files, which keep
// what nobody can ask for any more.
func (l *looking) histories(ctx context.Context) error {
	c, err := l.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for page, more := (&workflowservice.ListWorkflowExecutionsResponse{}), true; more; more = len(page.GetNextPageToken()) > 0 {
		page, err = c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{NextPageToken: page.GetNextPageToken()})
		if err != nil {
			return err
		}
		for _, w := range page.GetExecutions() {
			if err := l.history(ctx, c, w.GetExecution().GetWorkflowId(), w.GetExecution().GetRunId()); err != nil {
				return err
			}
		}
	}
	schedules, err := c.ScheduleClient().List(ctx, client.ScheduleListOptions{})
	if err != nil {
		return err
	}
	for schedules.HasNext() {
		e, err := schedules.Next()
		if err != nil {
			return err
		}
		d, err := c.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: "default", ScheduleId: e.ID})
		if err != nil {
			return err
		}
		if err := l.message("schedule "+e.ID, d); err != nil {
			return err
		}
	}
	return l.files(filepath.Join(l.Lab.Dir, "data", "temporal"), "")
}

func (l *looking) history(ctx context.Context, c client.Client, id, run string) error {
	d, err := c.DescribeWorkflowExecution(ctx, id, run)
	if err != nil {
		return err
	}
	if err := l.message("workflow "+id, d); err != nil {
		return err
	}
	events := c.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return err
		}
		if err := l.message(fmt.Sprintf("workflow %s, event %d, %s", id, e.GetEventId(), e.GetEventType()), e); err != nil {
			return err
		}
	}
	return nil
}

// objects looks into every version of every object below a prefix, as root.
func (l *looking) objects(ctx context.Context, place, bucket, prefix string) error {
	c, err := s3.New(l.Lab.Storage(place))
	if err != nil {
		return err
	}
	for v, err := range c.ListVersions(ctx, bucket, prefix) {
		if err != nil {
			return err
		}
		if v.DeleteMarker {
			continue
		}
		text, _, err := c.GetVersion(ctx, bucket, v.Key, v.VersionID)
		if err != nil {
			return err
		}
		l.in(v.Key, append([]byte(v.Key+"\n"), text...))
	}
	return nil
}

// files looks into the files below a folder whose names end so.
func (l *looking) files(dir, ending string) error {
	found, read, err := l.Files(l.place, dir, func(path string) bool {
		ok, err := filepath.Match("*"+ending, filepath.Base(path))
		return ok && err == nil
	})
	l.found = append(l.found, found...)
	l.looked += read
	return err
}

// outputs looks into everything that the product's commands have printed so far, and what
// those print that were not asked for yet, for people and for machines. How they end does
// not matter.
func (l *looking) outputs(ctx context.Context, run string) error {
	for _, args := range []string{
		"runs --json", "status " + run, "status " + run + " --json", "report " + run + " --json", "verify-evidence " + run + " --json",
		"estate check " + Estate + " --live --json", "estate policies " + Estate + " --json", "status nobody --json",
		"approve " + run + " --yes --json --key " + l.Lab.Key("alice"),
	} {
		if _, err := l.breakwater(ctx, strings.Fields(args)...); ctx.Err() != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.printed {
		l.in("breakwater "+p.args, []byte(p.args+"\n"+p.text))
	}
	return nil
}

// Places are where [Session.Leaks] looks.
func Places() []string {
	return []string{"history", "ledger", "journal", "log", "report", "output"}
}

// PlantCredential leaves a text in each of the places that [Session.Leaks] looks at, so
// that what it finds there shows that it looks. It spoils the run, which must have ended.
func (s *Session) PlantCredential(ctx context.Context, text, reports string) error {
	e, err := s.Estate()
	if err != nil {
		return err
	}
	journal, err := e.RealBucket(e.Witness.Bucket, lab.Standby)
	if err != nil {
		return err
	}
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	// Nobody works on this one. Bytes become base64 in JSON.
	w, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "Planted", TaskQueue: "nobody"}, "Planted", []byte("in the middle: "+text))
	if err != nil {
		return err
	}
	if err := c.TerminateWorkflow(ctx, w.GetID(), w.GetRunID(), "it was planted", text); err != nil {
		return err
	}
	for place, key := range map[string][2]string{lab.Third: {e.Ledger.Bucket, "planted"}, lab.Standby: {journal, e.Witness.Prefix + "/planted"}} {
		store, err := s3.New(s.Lab.Storage(place))
		if err != nil {
			return err
		}
		if _, err := store.Put(ctx, key[0], key[1], []byte("password="+text)); err != nil {
			return err
		}
	}
	for _, path := range []string{filepath.Join(s.Lab.Dir, "logs", "planted.log"), filepath.Join(reports, "planted.html")} {
		if err := os.WriteFile(path, []byte("?password="+url.QueryEscape(text)), 0o600); err != nil {
			return err
		}
	}
	if _, err := s.breakwater(ctx, "status", text); err == nil {
		return errors.New("there is a run with the name of what was planted")
	}
	return nil
}
