package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
)

// unpackTables writes the tables of the fixtures as files.
func unpackTables(t testing.TB, dir string) {
	t.Helper()
	s, err := deltatest.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range s.Keys("") {
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, key), body, 0o644)
	}
}

// Of every version of every table that Spark and delta-rs wrote, show says what
// they say, and refuses those that they refused, having said what they lack.
func TestTableShowIsTheEngines(t *testing.T) {
	dir := t.TempDir()
	unpackTables(t, dir)
	truths, err := deltatest.Tables()
	if err != nil || len(truths) != 31 {
		t.Fatalf("%d tables, %v", len(truths), err)
	}
	for _, truth := range truths {
		t.Run(truth.Name, func(t *testing.T) {
			t.Parallel()
			for _, want := range truth.Versions {
				var out, errs bytes.Buffer
				code := run(t.Context(), []string{"table", "show", filepath.Join(dir, truth.Prefix), "--version", strconv.FormatInt(want.Version, 10),
					"--map", "s3://" + deltatest.Bucket + "=" + dir, "--json"}, nil, &out, &errs)
				var got struct {
					tableView
					Type     string         `json:"type"`
					Protocol delta.Protocol `json:"protocol"`
				}
				if line, _, _ := bytes.Cut(out.Bytes(), []byte("\n")); json.Unmarshal(line, &got) != nil || got.Type != "table" {
					t.Errorf("version %d: %s %s", want.Version, out.Bytes(), errs.Bytes())
					continue
				}
				if want.Readable != (code == 0) || want.Readable != got.Complete || !want.Readable && code != exitFailed {
					t.Errorf("version %d, readable %v: complete %v, exit code %d: %s", want.Version, want.Readable, got.Complete, code, errs.Bytes())
				}
				rows := "null"
				if got.Rows != nil {
					rows = fmt.Sprint(*got.Rows)
				}
				found := fmt.Sprintln(got.Format, got.Version, got.Files, got.Bytes, got.Vectors, got.Deleted)
				if is := fmt.Sprintln("delta", want.Version, want.LiveFiles, want.LiveBytes, want.DVFiles, want.DVRows); found != is {
					t.Errorf("version %d: %s want %s", want.Version, found, is)
				}
				if want.Version == truth.Versions[len(truth.Versions)-1].Version {
					protocol := fmt.Sprintln(got.Protocol.MinReaderVersion, got.Protocol.MinWriterVersion, got.Partition)
					if is := fmt.Sprintln(truth.MinReader, truth.MinWriter, truth.Partition); protocol != is {
						t.Errorf("protocol %s want %s", protocol, is)
					}
					if truth.TableFeatures != nil && (!slices.Equal(got.Features, truth.TableFeatures) || !maps.Equal(got.Properties, truth.Properties)) {
						t.Errorf("features %q, want %q; properties %q, want %q", got.Features, truth.TableFeatures, got.Properties, truth.Properties)
					}
				}
				if want.Readable && rows != fmt.Sprint(want.Rows) {
					t.Errorf("version %d: %s rows, want %d", want.Version, rows, want.Rows)
				}
			}
		})
	}
}
