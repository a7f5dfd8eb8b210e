package inventory

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

//go:embed tables.py
var reader string

// tables notes what delta-rs reads of each table, which shares no code with the product:
// the rows of its newest version, and of which files each version is made.
func (t *taken) tables(ctx context.Context, python, place string, s Storage) error {
	if python == "" {
		return errors.New("read tables: no Python with delta-rs is named; make tools installs one, and make test names it")
	}
	ask, err := json.Marshal(map[string]any{"tables": s.Tables, "options": map[string]string{
		"AWS_ENDPOINT_URL": s.Endpoint, "AWS_ACCESS_KEY_ID": s.AccessKey, "AWS_SECRET_ACCESS_KEY": s.SecretKey,
		"AWS_REGION": s.Region, "AWS_ALLOW_HTTP": "true",
	}})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, python, "-c", reader)
	cmd.Stdin = bytes.NewReader(ask)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("read tables of %s with delta-rs: %w: %s", place, err, stderr.String())
	}
	var answer map[string]string
	if err := json.Unmarshal(out, &answer); err != nil {
		return fmt.Errorf("read tables of %s: delta-rs answered %q: %w", place, out, err)
	}
	for name, value := range answer {
		if err := t.note(place, Table, name, value); err != nil {
			return err
		}
	}
	return nil
}
