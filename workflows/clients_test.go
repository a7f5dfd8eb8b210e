package workflows_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
	"breakwater/lab/server/temporaltest"
)

// tctl runs the old command line, which knows neither updates nor our types.
func tctl(t *testing.T, args ...string) string {
	t.Helper()
	bin, err := temporaltest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(bin), "tctl"), append([]string{"--address", server.Address}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestTctlStartsApprovesAndReads does with tctl and flat JSON all that a run needs.
func TestTctlStartsApprovesAndReads(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	id := "tctl-" + b.queue
	tctl(t, "workflow", "start", "--taskqueue", b.queue, "--workflow_type", "RegionalFailover", "--workflow_id", id,
		"--execution_timeout", "600", "--input", `{"estate":"lab","mode":"live","incident":"INC-7","groups":["clicks"],"source":"us-east-1","target":"us-west-2"}`)
	r := b.client.GetWorkflow(t.Context(), id, "")
	for last := ""; ; {
		s := b.until(r, "another gate, a question or the end", func(s wire.Status) bool {
			return s.State == wire.StateEnded || s.Gate != nil && s.Gate.ID != last || s.Ask != nil
		})
		if s.State == wire.StateEnded {
			break
		}
		if s.Ask != nil {
			o := s.Open.Spec.About
			d, err := json.Marshal(b.signed(s, approval.Decision{Gate: o.Gate, Attempt: o.Attempt, Verb: approval.Done, By: member(s), Owner: "emil", Due: "2099-01-01"}))
			if err != nil {
				t.Fatal(err)
			}
			tctl(t, "workflow", "signal", "-w", id, "-n", wire.SignalDecide, "--input", string(d))
			b.until(r, "the answer taken", func(s wire.Status) bool { return s.Ask == nil })
			continue
		}
		last = s.Gate.ID
		for _, who := range s.Gate.Members[:s.Gate.Quorum] {
			d, err := json.Marshal(b.sign(s, approval.Approve, who, r))
			if err != nil {
				t.Fatal(err)
			}
			tctl(t, "workflow", "signal", "-w", id, "-n", wire.SignalApprove, "--input", string(d))
		}
	}
	var res wire.Result
	if err := r.Get(t.Context(), &res); err != nil || res.Verdict != verdict.Pass {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	if out := tctl(t, "workflow", "query", "-w", id, "--qt", wire.QueryStatus); !strings.Contains(out, `"ended"`) {
		t.Errorf("tctl reads of the run:\n%s", out)
	}
}

// browser calls the HTTP API that Temporal's UI calls, with the token that the
// page got.
type browser struct {
	client *http.Client
	token  string
}

func openUI(t *testing.T) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := browser{client: &http.Client{Jar: jar}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.UI+"/api/v1/settings", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for _, c := range jar.Cookies(req.URL) {
		if c.Name == "_csrf" {
			b.token = c.Value
		}
	}
	return b
}

func (b browser) api(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, server.UI+"/api/v1/namespaces/default"+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-CSRF-Token", b.token)
	res, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %v: %s", method, path, res.Status, err, out)
	}
	return out
}

// typed is what the UI makes of JSON that a person typed into its form.
func typed(v any) map[string]any {
	raw, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v) // a decision of ours
		raw = string(b)
	}
	return map[string]any{"payloads": []any{map[string]any{
		"metadata": map[string]string{"encoding": base64.StdEncoding.EncodeToString([]byte("json/plain"))},
		"data":     base64.StdEncoding.EncodeToString([]byte(raw)),
	}}}
}

// TestTheUIsOwnCalls starts, approves, refuses and reads a run the way the
// Temporal UI does it, with the JSON that a person would type.
func TestTheUIsOwnCalls(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	id := "ui-" + b.queue
	ui := openUI(t)
	ui.api(t, http.MethodPost, "/workflows/"+id, map[string]any{
		"workflowType": map[string]string{"name": "RegionalFailover"}, "taskQueue": map[string]string{"name": b.queue},
		"input": typed(`{"estate":"lab","mode":"live","incident":"INC-8","source":"us-east-1","target":"us-west-2"}`),
	})
	r := b.client.GetWorkflow(t.Context(), id, "")
	s := b.until(r, "its first gate", func(s wire.Status) bool { return s.Gate != nil })
	ui.api(t, http.MethodPost, "/workflows/"+id+"/signal/"+wire.SignalApprove, map[string]any{"input": typed(`aprove please`)})
	b.until(r, "the slip shown", func(s wire.Status) bool { return len(s.Refusals) == 1 })
	for _, who := range s.Gate.Members[:s.Gate.Quorum] {
		ui.api(t, http.MethodPost, "/workflows/"+id+"/signal/"+wire.SignalApprove, map[string]any{"input": typed(b.sign(s, approval.Approve, who, r))})
	}
	s = b.until(r, "the second gate", func(s wire.Status) bool { return s.Gate != nil && s.Gate.ID == "fence" })
	answer := ui.api(t, http.MethodPost, "/workflows/"+id+"/update/"+wire.UpdateDecide, map[string]any{
		"request":    map[string]any{"meta": map[string]string{"updateId": "from-the-ui"}, "input": map[string]any{"name": wire.UpdateDecide, "args": typed(b.sign(s, approval.Reject, "ben", r))}},
		"waitPolicy": map[string]string{"lifecycleStage": "UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED"},
	})
	if !strings.Contains(string(answer), "success") {
		t.Errorf("the update answered %s", answer)
	}
	endedAs(t, r.Get(t.Context(), nil), wire.ErrTypeRejected)
	meta := ui.api(t, http.MethodPost, fmt.Sprintf("/workflows/%s/query/%s", id, "__temporal_workflow_metadata"), map[string]any{})
	var answered struct {
		QueryResult struct {
			Payloads []struct{ Data []byte }
		}
	}
	if err := json.Unmarshal(meta, &answered); err != nil || len(answered.QueryResult.Payloads) == 0 {
		t.Fatalf("the UI reads of the run: %s, %v", meta, err)
	}
	shown := string(answered.QueryResult.Payloads[0].Data)
	for _, want := range []string{"ENDED: NOT PROVEN", "rejected the plan of Fence", "signalDefinitions", "approve"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the UI does not show %q in %s", want, shown)
		}
	}
}
