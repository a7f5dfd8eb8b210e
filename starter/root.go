package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"breakwater/internal/config"
	"breakwater/internal/system"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
)

// app is one call of the command.
type app struct {
	in   io.Reader
	out  io.Writer // results: people's text, or with --json typed lines
	err  io.Writer // everything else
	json bool

	cfg     config.Config
	systems *system.Systems
	temp    client.Client
	options client.Options
}

const long = `Runs disaster-recovery runbooks and shows that they did what they say.

A run goes stage by stage. Each stage is planned, then approved by people where
the runbook says so, then applied, then proven by looking at the real systems.
A run that starts without --mode live changes nothing.

The usual way through an incident:

  breakwater start RegionalFailover --estate lab source=us-east-1 \
      target=us-west-2 --mode live --incident INC-2041 --watch
  breakwater approve RegionalFailover-lab-20261121-031205 \
      --key ~/.ssh/id_ed25519
  breakwater report RegionalFailover-lab-20261121-031205 --out report

Temporal is found as the temporal CLI finds it: TEMPORAL_ADDRESS, or --profile.
Estates lie in the folder that --estates or BREAKWATER_ESTATES names. With
--json, standard output holds one typed JSON object per line and nothing else.

` + exitCodes

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use: "breakwater", Short: "Run disaster-recovery runbooks, and prove what they did", Long: long,
		SilenceUsage: true, SilenceErrors: true, Version: config.Version(),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return wrong(errUsage, "breakwater --help", "there is no command %q%s", args[0], meant(args[0], c))
			}
			return c.Help()
		},
		Args: cobra.ArbitraryArgs,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			var err error
			if a.cfg, err = config.Load(c.Flags()); err != nil {
				return err
			}
			a.systems = &system.Systems{Folder: a.cfg.Estates}
			return nil
		},
	}
	c.SetOut(a.out)
	c.SetErr(a.err)
	c.SetIn(a.in)
	c.SetVersionTemplate("breakwater {{.Version}}\n")
	c.SetUsageTemplate(strings.ReplaceAll(c.UsageTemplate(), "FlagUsages |", "FlagUsagesWrapped 80 |"))
	c.SuggestionsMinimumDistance = 2
	c.CompletionOptions.DisableDefaultCmd = true
	config.Flags(c.PersistentFlags())
	c.PersistentFlags().BoolVar(&a.json, "json", false, "one typed JSON object per line on standard output")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return wrong(errUsage, c.CommandPath()+" --help", "%s: %w", c.CommandPath(), err)
	})
	c.AddCommand(
		a.startCommand(), a.runsCommand(), a.watchCommand(), a.statusCommand(),
		a.approveCommand(), a.rejectCommand(), a.decideCommand(), a.abortCommand(),
		a.reportCommand(), a.verifyCommand(), a.runbooksCommand(), a.actionsCommand(), a.estateCommand(), a.lockCommand(), a.tableCommand(),
	)
	return c
}

// meant names the command that was probably meant.
func meant(found string, c *cobra.Command) string {
	if s := c.SuggestionsFor(found); len(s) > 0 {
		return fmt.Sprintf("; did you mean %q?", s[0])
	}
	return ""
}

// exactly takes n arguments, and says in the words of the usage what is missing.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

func between(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return wrong(errUsage, c.CommandPath()+" --help", "%s needs %s", c.CommandPath(), strings.TrimPrefix(c.Use, c.Name()+" "))
		case len(args) > most:
			return wrong(errUsage, c.CommandPath()+" --help", "%s takes %s, and found %q as well", c.CommandPath(), c.Use, args[most])
		}
		return nil
	}
}

// group is a command that only has others below it.
func group(c *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	c.AddCommand(subs...)
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return wrong(errUsage, c.CommandPath()+" --help", "there is no command %q%s", c.CommandPath()+" "+args[0], meant(args[0], c))
		}
		return c.Help()
	}
	return c
}

// finish says what went wrong, if anything did, and gives the exit code.
func (a *app) finish(ctx context.Context, err error) int {
	code := exitCode(err)
	if err != nil && ctx.Err() != nil && code == exitFailed {
		code = exitInterrupted
	}
	if err == nil {
		return code
	}
	text := "breakwater: " + err.Error()
	if terminal(a.err) {
		text = readable(text)
	}
	fmt.Fprintln(a.err, text)
	if a.json {
		var f *fault
		next := ""
		text := err.Error()
		if errors.As(err, &f) {
			text, next = f.text, f.next
		}
		a.line("error", struct {
			Error string `json:"error"`
			Next  string `json:"next,omitempty"`
			Exit  int    `json:"exit"`
		}{text, next, code})
	}
	return code
}

// readable breaks long lines at words, and leaves commands to paste whole.
func readable(text string) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "  ") {
			out = append(out, line)
			continue
		}
		out = append(out, wrap(line, 80, "  ")...)
	}
	return strings.Join(out, "\n")
}

func (a *app) close() {
	if a.temp != nil {
		a.temp.Close()
	}
	if a.systems != nil {
		a.systems.Close()
	}
}

// line writes one typed JSON object. What cannot be written any more, since the
// reader has gone, is nobody's loss.
func (a *app) line(kind string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		fmt.Fprintln(a.err, "breakwater: write", kind, "as JSON:", err)
		return
	}
	rest := strings.TrimPrefix(string(raw), "{")
	comma := ","
	if rest == "}" {
		comma = ""
	}
	fmt.Fprintf(a.out, "{\"type\":%q%s%s\n", kind, comma, rest)
}

// say writes people's text: a result without --json, otherwise beside it.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.people(), format+"\n", args...)
}

// people is where people's text goes.
func (a *app) people() io.Writer {
	if a.json {
		return a.err
	}
	return a.out
}

// terminal reports whether w, or a reader, is a terminal.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}
