package mm2

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"breakwater/internal/mirror"
)

// answering is the mirror of a worker that always says the same.
func answering(t *testing.T, status int, body string) *Mirror {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(status)
		if _, err := rw.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	w, err := NewWorker(s.URL, Login{})
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Worker: w, Source: "source", Checkpoint: "checkpoint", Connectors: []string{"source", "checkpoint"}, OffsetsTopic: "offsets"})
}

func TestLook(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		want   mirror.Link
	}{
		"runs":                       {200, `{"connector":{"state":"RUNNING"},"tasks":[{"id":0,"state":"RUNNING"}]}`, mirror.Link{State: mirror.Running, Works: true, Tasks: 1, Said: "RUNNING, task 0 RUNNING"}},
		"a task failed":              {200, `{"connector":{"state":"RUNNING"},"tasks":[{"id":0,"state":"RUNNING"},{"id":1,"state":"FAILED"}]}`, mirror.Link{State: mirror.Running, Tasks: 2, Said: "RUNNING, task 0 RUNNING, task 1 FAILED"}},
		"has no task":                {200, `{"connector":{"state":"RUNNING"},"tasks":[]}`, mirror.Link{State: mirror.Running, Said: "RUNNING"}},
		"failed":                     {200, `{"connector":{"state":"FAILED"},"tasks":[]}`, mirror.Link{State: mirror.Running, Said: "FAILED"}},
		"paused":                     {200, `{"connector":{"state":"PAUSED"},"tasks":[{"id":0,"state":"PAUSED"}]}`, mirror.Link{State: mirror.Paused, Tasks: 1, Said: "PAUSED, task 0 PAUSED"}},
		"stopped, and a task is not": {200, `{"connector":{"state":"STOPPED"},"tasks":[{"id":0,"state":"RUNNING"}]}`, mirror.Link{State: mirror.Stopping, Tasks: 1, Said: "STOPPED, task 0 RUNNING"}},
		"stopped":                    {200, `{"connector":{"state":"STOPPED"},"tasks":[]}`, mirror.Link{State: mirror.Stopped, Said: "STOPPED"}},
	} {
		tc.want.Name = "a"
		if got, err := answering(t, tc.status, tc.body).Look(t.Context(), "a"); got != tc.want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tc.want)
		}
	}
	if l, err := answering(t, 404, `{"message":"No status found"}`).Look(t.Context(), "a"); l.State != mirror.Missing || l.Said == "" || err != nil {
		t.Errorf("not there: %+v, %v", l, err)
	}
	if l, err := answering(t, 403, `{}`).Look(t.Context(), "a"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("refused: %+v, %v", l, err)
	}
}

func TestGroupSync(t *testing.T) {
	const class = `{"connector.class":"x"`
	for name, tc := range map[string]struct {
		config string
		want   time.Duration // negative for never
		fails  bool
	}{
		"every second":   {class + `,"sync.group.offsets.enabled":"true","sync.group.offsets.interval.seconds":" 1 "}`, time.Second, false},
		"by default":     {class + `,"sync.group.offsets.enabled":"true"}`, time.Minute, false},
		"off by default": {class + `}`, -1, false},
		"off":            {class + `,"sync.group.offsets.enabled":"False"}`, -1, false},
		"never":          {class + `,"sync.group.offsets.enabled":"true","sync.group.offsets.interval.seconds":"-1"}`, -time.Second, false},
		"no number":      {class + `,"sync.group.offsets.enabled":"true","sync.group.offsets.interval.seconds":"${a}"}`, time.Minute, true},
		"no worker":      {`{}`, time.Minute, true},
	} {
		if got, err := answering(t, 200, tc.config).GroupSync(t.Context()); got != tc.want || (err != nil) != tc.fails {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tc.want)
		}
	}
	if got, err := answering(t, 404, `{"error_code":404,"message":"Connector checkpoint not found"}`).GroupSync(t.Context()); got != time.Minute || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no answer: %s, %v; want the default beside the error", got, err)
	}
}

// TestWritesAs asks for the user of the client that moves groups, as the checkpoint
// connector lays its configuration.
func TestWritesAs(t *testing.T) {
	const (
		class = `{"connector.class":"x"`
		plain = `org.apache.kafka.common.security.plain.PlainLoginModule required `
	)
	for name, tc := range map[string]struct{ config, want string }{
		"nothing is said":        {``, "ANONYMOUS"},
		"plaintext":              {`,"target.cluster.security.protocol":"PLAINTEXT"`, "ANONYMOUS"},
		"a user":                 {`,"target.cluster.security.protocol":"SASL_SSL","target.cluster.sasl.jaas.config":"` + plain + `username=\"mm2\" password=\"${file:a:b}\";"`, "mm2"},
		"in single quotes":       {`,"target.cluster.security.protocol":"SASL_SSL","target.cluster.sasl.jaas.config":"` + plain + `password='x' username = 'mm 2';"`, "mm 2"},
		"without quotes":         {`,"target.cluster.security.protocol":"sasl_plaintext","target.cluster.sasl.jaas.config":"` + plain + `username=mm2 password=x;"`, "mm2"},
		"the admin's":            {`,"target.cluster.security.protocol":"SASL_SSL","target.cluster.sasl.jaas.config":"` + plain + `username=\"mm2\";","admin.sasl.jaas.config":"` + plain + `username=\"admin\";"`, "admin"},
		"the target's admin's":   {`,"target.cluster.security.protocol":"SASL_SSL","target.admin.sasl.jaas.config":"` + plain + `username=\"both\";","admin.sasl.jaas.config":"` + plain + `username=\"admin\";"`, "both"},
		"another cluster's":      {`,"source.cluster.security.protocol":"SASL_SSL","source.cluster.sasl.jaas.config":"` + plain + `username=\"mm2\";"`, "ANONYMOUS"},
		"a user in a file":       {`,"target.cluster.security.protocol":"SASL_SSL","target.cluster.sasl.jaas.config":"` + plain + `username=\"${file:a:b}\";"`, ""},
		"a login that a file is": {`,"target.cluster.security.protocol":"SASL_SSL","target.cluster.sasl.jaas.config":"${file:a:b}"`, ""},
		"a certificate":          {`,"target.cluster.security.protocol":"SSL"`, ""},
	} {
		if got, err := answering(t, 200, class+tc.config+"}").WritesAs(t.Context()); err != nil || got != tc.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tc.want)
		}
	}
	if got, err := answering(t, 404, `{"error_code":404,"message":"Connector checkpoint not found"}`).WritesAs(t.Context()); got != "" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no answer: %q, %v", got, err)
	}
}

func TestOwn(t *testing.T) {
	m := New(Config{OffsetsTopic: "offsets", Alias: "east"})
	if got := m.Own(); !slices.Equal(got, []string{"offsets", "east.checkpoints.internal", "east.heartbeats"}) {
		t.Errorf("its own topics are %q", got)
	}
	m.c.Alias = ""
	if got := m.Own(); !slices.Equal(got, []string{"offsets"}) {
		t.Errorf("without an alias, its own topics are %q", got)
	}
}
