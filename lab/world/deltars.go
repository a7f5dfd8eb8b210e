package world

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"strings"

	"breakwater/lab/server/miniotest"
)

//go:embed testdata/deltars.py
var deltaRS string

// DeltaRS runs delta-rs at the target, and returns its answer. Its interpreter
// comes from the build; without one, only our own reader looks.
func (w *World) DeltaRS(path string, q map[string]any) map[string]any {
	w.T.Helper()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		w.T.Fatal("BREAKWATER_PYTHON names no Python with delta-rs: make test sets it, after make tools")
	}
	q["uri"] = "s3://lake-west/" + path
	q["options"] = map[string]string{
		"AWS_ENDPOINT_URL": w.Minio[West].Endpoint, "AWS_ACCESS_KEY_ID": miniotest.RootUser, "AWS_SECRET_ACCESS_KEY": miniotest.RootPassword,
		"AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true", "AWS_CONDITIONAL_PUT": "etag",
	}
	in, err := json.Marshal(q)
	w.Must(err)
	cmd := exec.CommandContext(w.T.Context(), python, "-c", deltaRS)
	cmd.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.T.Fatalf("delta-rs: %v: %s", err, stderr.String())
	}
	var answer map[string]any
	w.Must(json.Unmarshal(out, &answer))
	return answer
}
