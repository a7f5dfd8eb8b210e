package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/reach"
	"breakwater/internal/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// settings reads the settings that the arguments, the environment and a file give.
func settings(t *testing.T, file string, env map[string]string, args ...string) (Config, error) {
	t.Helper()
	for _, name := range []string{"BREAKWATER_UI", "TEMPORAL_UI", "BREAKWATER_ESTATES", "BREAKWATER_CONFIG"} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	for k, v := range env {
		t.Setenv(k, v)
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "breakwater.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(f)
	LogFlags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(f)
}

func TestLoadOrder(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for name, tc := range map[string]struct {
		file string
		env  map[string]string
		args []string
		want Config
	}{
		"defaults":        {"", nil, nil, Config{}},
		"file":            {"estates: " + dir + "\ntask-queue: q1\n", nil, nil, Config{Estates: dir, TaskQueue: "q1"}},
		"environment":     {"task-queue: q1\n", map[string]string{"BREAKWATER_TASK_QUEUE": "q2", "BREAKWATER_ESTATES": dir}, nil, Config{Estates: dir, TaskQueue: "q2"}},
		"flag":            {"task-queue: q1\n", map[string]string{"BREAKWATER_TASK_QUEUE": "q2"}, []string{"--task-queue", "q3", "--log", "json", "--runbooks", other}, Config{TaskQueue: "q3", Log: "json", Runbooks: other}},
		"temporal's UI":   {"", map[string]string{"TEMPORAL_UI": "http://a"}, nil, Config{UI: "http://a"}},
		"our UI wins":     {"", map[string]string{"TEMPORAL_UI": "http://a", "BREAKWATER_UI": "http://b"}, nil, Config{UI: "http://b"}},
		"config from env": {"", map[string]string{"BREAKWATER_CONFIG": write(t, "profile: west\n")}, nil, Config{Profile: "west"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := settings(t, tc.file, tc.env, tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			want := tc.want
			if want.TaskQueue == "" {
				want.TaskQueue = wire.TaskQueue
			}
			if want.Log == "" {
				want.Log = "text"
			}
			want.LogLevel, want.Serve = "info", "all"
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		file string
		args []string
		want string
	}{
		"unknown key":  {"task_queue: q\n", nil, "task_queue"},
		"no folder":    {"", []string{"--estates", "/nowhere/at/all"}, `estates is "/nowhere/at/all", and there is no such folder`},
		"a file":       {"", []string{"--runbooks", write(t, "x: y")}, "which is a file"},
		"log form":     {"log: xml\n", nil, `log is "xml"`},
		"log level":    {"log-level: loud\n", nil, `log-level is "loud"`},
		"empty queue":  {"", []string{"--task-queue", ""}, "task-queue is empty"},
		"missing file": {"", []string{"--config", "/nowhere.yaml"}, "/nowhere.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := settings(t, tc.file, nil, tc.args...)
			if !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrBad with %q", err, tc.want)
			}
		})
	}
}

func TestLoadReportsAllAtOnce(t *testing.T) {
	_, err := settings(t, "", nil, "--estates", "/nowhere", "--runbooks", "/nothing", "--log", "xml")
	for _, want := range []string{"/nowhere", "/nothing", "xml"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
}

func TestTemporalProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "temporal.toml")
	text := "[profile.default]\naddress = \"one:1\"\n[profile.west]\naddress = \"two:2\"\nnamespace = \"dr\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEMPORAL_CONFIG_FILE", path)
	t.Setenv("TEMPORAL_ADDRESS", "")
	if err := os.Unsetenv("TEMPORAL_ADDRESS"); err != nil {
		t.Fatal(err)
	}
	for profile, want := range map[string][2]string{"": {"one:1", "default"}, "west": {"two:2", "dr"}} {
		o, err := Config{Profile: profile}.temporal(nil)
		if err != nil || o.HostPort != want[0] || o.Namespace != want[1] {
			t.Errorf("profile %q: %s %s, %v; want %v", profile, o.HostPort, o.Namespace, err, want)
		}
	}
	if _, err := (Config{Profile: "nope"}).temporal(nil); !errors.Is(err, ErrBad) {
		t.Errorf("unknown profile: %v, want ErrBad", err)
	}
	t.Setenv("TEMPORAL_ADDRESS", "three:3")
	if o, err := (Config{Profile: "west"}).temporal(nil); err != nil || o.HostPort != "three:3" {
		t.Errorf("the environment does not win: %s, %v", o.HostPort, err)
	}
}

func TestDialNamesTheServer(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _, err := Config{}.Dial(ctx, nil)
	if !reach.Unreachable(err) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want an unreachable server with its address", err)
	}
}

func TestBooksAreBuiltIn(t *testing.T) {
	books, ms := Config{}.Books()
	if len(ms) > 0 || len(books) == 0 {
		t.Errorf("%d runbooks, mistakes %v", len(books), ms)
	}
	books, ms = Config{Runbooks: t.TempDir()}.Books()
	if len(ms) > 0 || len(books) != 0 {
		t.Errorf("an empty folder: %d runbooks, mistakes %v", len(books), ms)
	}
}
