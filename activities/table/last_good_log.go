package table

import (
	"context"
	"strings"
	"sync"

	"breakwater/internal/lake"
	"breakwater/internal/table"
)

// mostOfALog is how many bytes of a log are kept while its versions are asked: some ten
// thousands of commits.
const mostOfALog = 128 << 20

// logOnce reads each object of a table's log once, as far as they fit. A search reads one
// version after the other, and without checkpoints each of them is all commits up to it.
// It stands for one look: what is written over meanwhile it does not see.
type logOnce struct {
	table.Store
	log string // the prefix of the log

	mu   sync.Mutex
	kept map[string][]byte
	left int64
}

// readOnce is the table with its log read once.
func readOnce(t lake.Table) lake.Table {
	t.Store = &logOnce{Store: t.Store, log: t.LogDir(), kept: map[string][]byte{}, left: mostOfALog}
	return t
}

// Get is [table.Store.Get].
func (s *logOnce) Get(ctx context.Context, key string) ([]byte, error) {
	if !strings.HasPrefix(key, s.log) {
		return s.Store.Get(ctx, key)
	}
	s.mu.Lock()
	body, ok := s.kept[key]
	s.mu.Unlock()
	if ok {
		return body, nil
	}
	body, err := s.Store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := int64(len(body)); n <= s.left && s.kept[key] == nil {
		s.kept[key], s.left = body, s.left-n
	}
	return body, nil
}
