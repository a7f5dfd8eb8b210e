package lab

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"breakwater/lab/server"
)

// state is lab.json: what must be the same when the laboratory is started again.
type state struct {
	mu   sync.Mutex
	file string
	kept
}

type kept struct {
	Ports     map[string]int            `json:"ports"`
	Processes map[string]server.Process `json:"processes"`
	Secrets   map[string]credential     `json:"secrets"` // by place and user
	Tokens    map[string]string         `json:"tokens"`  // by region: recovery's own, at OpenBao
	ARN       string                    `json:"arn"`     // of the replication's remote target

	Brokers    map[string]brokerAddrs `json:"brokers"` // by region
	ConnectURL string                 `json:"connect_url"`
	// Done names what was furnished: it is never done again, since a failover may
	// have changed it since.
	Done map[string]bool `json:"done"`
	Odd  map[string]Odd  `json:"odd,omitempty"` // by topic
}

// credential is an access key and its secret, in the form in which credential
// files hold them.
type credential struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

func (s *state) read(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	s.file, s.kept = path, k
	return nil
}

func (s *state) init(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file = path
	s.kept = kept{
		Ports: map[string]int{}, Processes: map[string]server.Process{}, Secrets: map[string]credential{}, Tokens: map[string]string{},
		Brokers: map[string]brokerAddrs{}, Done: map[string]bool{},
	}
}

// change edits the state and writes it, by renaming, so that a killed command
// leaves the old or the new one.
func (s *state) change(edit func(*kept)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(&s.kept)
	text, err := json.MarshalIndent(s.kept, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the laboratory's state: %w", err)
	}
	return replace(s.file, append(text, '\n'), 0o600)
}

// view reads from the state.
func view[T any](s *state, look func(kept) T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return look(s.kept)
}

// replace writes a file by renaming a new one over it.
func replace(path string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", text, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// secret is a user's credential at a place, made up the first time.
func (l *Lab) secret(place, user string) credential {
	return view(&l.state, func(k kept) credential {
		name := place + "/" + user
		c, ok := k.Secrets[name]
		if !ok {
			c = credential{AccessKey: user, SecretKey: rand.Text()}
			k.Secrets[name] = c // maps are shared: written with the next change
		}
		return c
	})
}

// reserve gives each name a port that is free now and stays the same for ever.
func (l *Lab) reserve(names []string, width map[string]int) error {
	var err error
	changed := l.state.change(func(k *kept) {
		taken := map[int]bool{}
		for name, port := range k.Ports {
			for i := range max(1, width[name]) {
				taken[port+i] = true
			}
		}
		for _, name := range names {
			if k.Ports[name] != 0 {
				continue
			}
			if k.Ports[name], err = server.Ports(max(1, width[name]), taken); err != nil {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return changed
}

// addr is the host:port of a reserved name.
func (l *Lab) addr(name string) string {
	return server.Address(view(&l.state, func(k kept) int { return k.Ports[name] }))
}
