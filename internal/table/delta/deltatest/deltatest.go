// Package deltatest has tables that real engines wrote, for the tests of everything
// that reads Delta tables. They lie in stores of package tabletest.
package deltatest

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"breakwater/internal/table/tabletest"
)

// Bucket is the bucket that the fixtures' absolute paths name.
const Bucket = "primary-lake"

// Truth is what the engine that wrote a table says of it.
type Truth struct {
	Name     string         `json:"name"`
	Prefix   string         `json:"prefix"`
	Features []string       `json:"features"`
	Versions []VersionTruth `json:"versions"`

	// Of the newest version. TableFeatures and Properties are Spark's; delta-rs
	// tells neither.
	Partition     []string          `json:"partition_columns"`
	MinReader     int               `json:"min_reader"`
	MinWriter     int               `json:"min_writer"`
	TableFeatures []string          `json:"table_features"`
	Properties    map[string]string `json:"properties"`
}

// VersionTruth is what the engine says of one version. SumID is the sum of the
// column id, CRC32Sum that of the CRC-32 of its decimal text, over all rows.
// Rows and the sums hold where Readable. Millis is what the engine's history
// said when: an in-commit timestamp where enabled, else the time of a log object
// that these copies do not keep.
type VersionTruth struct {
	Version   int64  `json:"version"`
	Readable  bool   `json:"readable"`
	Rows      int64  `json:"rows"`
	SumID     int64  `json:"sum_id"`
	CRC32Sum  int64  `json:"crc32_sum"`
	LiveFiles int    `json:"live_files"`
	LiveBytes int64  `json:"live_bytes"`
	DVFiles   int    `json:"dv_files"`
	DVRows    int64  `json:"dv_rows"`
	FilesSHA  string `json:"live_files_sha256,omitempty"`    // Spark's
	PathsSHA  string `json:"decoded_paths_sha256,omitempty"` // delta-rs's
	Operation string `json:"operation"`
	Millis    int64  `json:"timestamp_ms"`
}

//go:embed fixtures.zip
var fixtures []byte

// Tables returns what Spark 4.1 with Delta 4.4 and delta-rs 1.6 say of the 31
// tables that they wrote.
func Tables() ([]Truth, error) {
	var truths []Truth
	r, err := zip.NewReader(bytes.NewReader(fixtures), int64(len(fixtures)))
	if err != nil {
		return nil, err
	}
	f, err := r.Open("truth.json")
	if err != nil {
		return nil, err
	}
	return truths, errors.Join(json.NewDecoder(f).Decode(&truths), f.Close())
}

// Load returns a store with the given tables' objects, or with all of them.
func Load(names ...string) (*tabletest.Store, error) {
	r, err := zip.NewReader(bytes.NewReader(fixtures), int64(len(fixtures)))
	if err != nil {
		return nil, err
	}
	s := &tabletest.Store{}
	for _, f := range r.File {
		dir, _, _ := strings.Cut(strings.TrimPrefix(f.Name, "delta/"), "/")
		if f.Name == "truth.json" || len(names) > 0 && !slices.Contains(names, dir) {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", f.Name, err)
		}
		s.Write(f.Name, body, f.Modified.Add(24*time.Hour)) // the archive keeps the day alone
	}
	return s, nil
}
