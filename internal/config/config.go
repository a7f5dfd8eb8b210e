// Package config holds the settings of Breakwater's processes: where estates and
// runbooks are, which task queue, how to reach Temporal, how to log.
//
// A setting comes from its flag, else from BREAKWATER_<SETTING> in the
// environment, else from the file that --config or BREAKWATER_CONFIG names, else
// from its default. Where Temporal is comes from the temporal CLI's own profiles
// and TEMPORAL_… variables, so that both commands talk to the same server.
//
// Only process settings pass through here. Estates and runbooks have readers of
// their own: viper lower-cases keys.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"breakwater/internal/wire"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Config is every setting of a process.
type Config struct {
	Estates   string `mapstructure:"estates"`    // folder with NAME.yaml for each estate
	Runbooks  string `mapstructure:"runbooks"`   // folder with *.yaml; empty for those built in
	TaskQueue string `mapstructure:"task-queue"` // where workers look for runs
	Profile   string `mapstructure:"profile"`    // of the temporal CLI's configuration; empty for its default
	UI        string `mapstructure:"ui"`         // address of Temporal's web UI, for links; empty where there is none
	Log       string `mapstructure:"log"`        // "text" or "json"
	LogLevel  string `mapstructure:"log-level"`  // "debug", "info", "warn" or "error"
	Serve     string `mapstructure:"serve"`      // what a worker serves: "all", or some of parts
}

// ErrBad means that a setting is wrong or missing: nothing was started.
var ErrBad = errors.New("bad setting")

// file is the flag that names the configuration file; it is no setting itself.
const file = "config"

// Flags adds the settings that every process has.
func Flags(f *pflag.FlagSet) {
	f.String(file, "", "file with these settings (YAML, JSON or TOML)")
	f.String("estates", "", "folder of the estates: NAME.yaml for each")
	f.String("runbooks", "", "folder of runbooks (default: those built in)")
	f.String("task-queue", wire.TaskQueue, "task queue of the workers")
	f.String("profile", "", "profile of the temporal CLI's configuration")
	f.String("ui", "", "address of Temporal's web UI, for links")
}

// LogFlags adds how a process logs, for those that do.
func LogFlags(f *pflag.FlagSet) {
	f.String("log", "text", "form of the log: text or json")
	f.String("log-level", "info", "least level logged: debug, info, warn or error")
}

// parts are what a worker can serve.
var parts = []string{"workflows", "activities", "queries"}

// ServeFlag adds what a worker serves.
func ServeFlag(f *pflag.FlagSet) {
	f.String("serve", "all", "workflows, activities, queries, with commas between; all gives queries a child process")
}

// Serves reports whether a worker is to serve one of parts.
func (c Config) Serves(part string) bool {
	return c.Serve == "all" || slices.Contains(strings.Split(c.Serve, ","), part)
}

// Load reads the settings for a parsed flag set. The error is [ErrBad] and names
// the setting.
func Load(flags *pflag.FlagSet) (Config, error) {
	v := viper.New()
	v.SetEnvPrefix("BREAKWATER")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	fail := func(doing string, err error) (Config, error) {
		return Config{}, fmt.Errorf("%w: %s: %w", ErrBad, doing, err)
	}
	for name, otherwise := range map[string]string{
		"estates": "", "runbooks": "", "task-queue": wire.TaskQueue, "profile": "", "ui": "", "log": "text", "log-level": "info", "serve": "all",
	} {
		v.SetDefault(name, otherwise)
		if err := v.BindEnv(name); err != nil {
			return fail(name, err)
		}
		if f := flags.Lookup(name); f != nil {
			if err := v.BindPFlag(name, f); err != nil {
				return fail(name, err)
			}
		}
	}
	// The laboratory and others give the UI's address under Temporal's own name.
	if err := v.BindEnv("ui", "BREAKWATER_UI", "TEMPORAL_UI"); err != nil {
		return fail("ui", err)
	}
	path := os.Getenv("BREAKWATER_CONFIG")
	if f := flags.Lookup(file); f != nil && f.Changed {
		path = f.Value.String()
	}
	if path != "" {
		v.SetConfigFile(path)
		if err := v.ReadInConfig(); err != nil {
			return fail("read the configuration "+path, err)
		}
	}
	var c Config
	if err := v.UnmarshalExact(&c); err != nil {
		return fail("read the configuration "+path, err)
	}
	return c, c.check()
}

// check says everything that is wrong with the settings by themselves.
func (c Config) check() error {
	var errs []error
	folder := func(name, path string) {
		if path == "" {
			return
		}
		switch info, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("%w: %s is %q, and there is no such folder; create it or correct --%s", ErrBad, name, path, name))
		case err != nil:
			errs = append(errs, fmt.Errorf("%w: %s is %q: %w", ErrBad, name, path, err))
		case !info.IsDir():
			errs = append(errs, fmt.Errorf("%w: %s is %q, which is a file; give the folder that it lies in", ErrBad, name, path))
		}
	}
	folder("estates", c.Estates)
	folder("runbooks", c.Runbooks)
	if c.TaskQueue == "" {
		errs = append(errs, fmt.Errorf("%w: task-queue is empty; leave it out for %q", ErrBad, wire.TaskQueue))
	}
	for part := range strings.SplitSeq(c.Serve, ",") {
		if part != "all" && !slices.Contains(parts, part) || part == "all" && c.Serve != "all" {
			errs = append(errs, fmt.Errorf("%w: serve is %q; give all, or some of %s with commas between", ErrBad, c.Serve, strings.Join(parts, ", ")))
			break
		}
	}
	if forms := []string{"text", "json"}; !slices.Contains(forms, c.Log) {
		errs = append(errs, fmt.Errorf("%w: log is %q; give %s", ErrBad, c.Log, strings.Join(forms, " or ")))
	}
	if _, err := c.level(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c Config) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return l, fmt.Errorf("%w: log-level is %q; give debug, info, warn or error", ErrBad, c.LogLevel)
	}
	return l, nil
}
