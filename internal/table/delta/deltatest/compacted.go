package deltatest

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Compacted is what a writer puts into a log compaction file for a run of
// commits: the last action of each file, application and kind, without commitInfo.
func Compacted(commits ...[]byte) ([]byte, error) {
	last := map[string]int{}
	var lines [][]byte
	for _, body := range commits {
		for line := range bytes.Lines(body) {
			line = bytes.TrimSpace(line)
			if len(line) == 0 {
				continue
			}
			var a map[string]struct {
				Path   string          `json:"path"`
				Vector json.RawMessage `json:"deletionVector"`
				App    string          `json:"appId"`
				Domain string          `json:"domain"`
			}
			if err := json.Unmarshal(line, &a); err != nil {
				return nil, fmt.Errorf("compact commits: %w", err)
			}
			for kind, of := range a {
				if kind == "commitInfo" || kind == "cdc" {
					continue
				}
				if kind == "remove" {
					kind = "add"
				}
				id := fmt.Sprintf("%s %s %s %s %s", kind, of.Path, of.Vector, of.App, of.Domain)
				if at, ok := last[id]; ok {
					lines[at] = nil
				}
				last[id] = len(lines)
				lines = append(lines, append(line, '\n'))
			}
		}
	}
	return bytes.Join(lines, nil), nil
}
