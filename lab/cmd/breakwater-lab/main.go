// Command breakwater-lab runs the two-region laboratory: real servers on this
// machine, with data, traffic and a region to kill.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"breakwater/lab"
	"breakwater/lab/traffic"
)

const (
	exitFailed = 1
	exitUsage  = 2

	exitInterrupted = 130
)

// errUsage marks what the person typed wrong.
var errUsage = errors.New("see breakwater-lab --help")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "interrupted: what was started runs on; breakwater-lab down stops it")
		return exitInterrupted
	case errors.Is(err, errUsage), errors.Is(err, lab.ErrRegion):
		fmt.Fprintln(stderr, "error:", err)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "error:", err)
		return exitFailed
	}
}

const long = `A laboratory for regional failover, made of real servers on this machine:

  us-east-1     primary   MinIO, OpenBao, Apache Kafka
  us-west-2     standby   MinIO, OpenBao, Apache Kafka, Connect with MirrorMaker 2
  us-central-1  third     Temporal with its web UI, MinIO for the ledger

Objects and messages cross from the primary to the standby over a line with
latency and little bandwidth, so that the standby lags, and a killed primary
takes with it what has not crossed yet.

A round:
  breakwater-lab up                    start everything (about 20 s)
  breakwater-lab seed                  make tables and topics with some content
  breakwater-lab traffic &             keep writing and reading
  breakwater-lab kill us-east-1        SIGKILL for the whole region, mid-write
  ...                                  recover it: the estate is out/lab/estate/lab.yaml
  breakwater-lab heal us-east-1        start the region again, on the same data
  breakwater-lab down                  stop everything; data stays

The servers run on after this command ends. Exit codes: 0 done, 1 failed,
2 wrong usage, 130 interrupted.`

func command(stdout, stderr io.Writer) *cobra.Command {
	var dir string
	var asJSON bool
	root := &cobra.Command{
		Use: "breakwater-lab", Short: "Run the two-region laboratory", Long: long,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().StringVar(&dir, "dir", "out/lab", "folder of the laboratory")
	root.PersistentFlags().BoolVar(&asJSON, "json", false, "print the result as one line of JSON on standard output")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })

	open := func() (*lab.Lab, error) {
		l, err := lab.New(dir)
		if err == nil {
			l.Out = stderr
		}
		return l, err
	}
	print := func(v any, human func(io.Writer)) error {
		if asJSON {
			return json.NewEncoder(stdout).Encode(v)
		}
		if human != nil {
			human(stdout)
		}
		return nil
	}
	status := func(l *lab.Lab) error {
		s, err := l.Status()
		if err != nil {
			return err
		}
		return print(s, func(w io.Writer) { table(w, s) })
	}
	one := func(use string) cobra.PositionalArgs {
		return func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s takes one argument, a region such as %s, found %d; %w", use, lab.Primary, len(args), errUsage)
			}
			return nil
		}
	}
	none := func(c *cobra.Command, args []string) error {
		if len(args) != 0 {
			return fmt.Errorf("%s takes no argument, found %q; %w", c.Name(), args[0], errUsage)
		}
		return nil
	}

	up := &cobra.Command{
		Use: "up", Short: "Start what does not run, and write the estate", Args: none,
		Long: "Starts every server that does not run, furnishes what is new, and writes\nDIR/estate/lab.yaml and DIR/env. Call it as often as you like.",
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			if err := l.Up(c.Context()); err != nil {
				return err
			}
			return status(l)
		},
	}
	var rows, messages int
	seed := &cobra.Command{
		Use: "seed", Short: "Make the tables and topics with some content", Args: none,
		Long: "Appends rows to every table and messages to every topic of the primary, and\nwaits until the standby has all of it.",
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			s, err := l.Seed(c.Context(), rows, messages)
			if err != nil {
				return err
			}
			return print(s, nil)
		},
	}
	seed.Flags().IntVar(&rows, "rows", 1000, "rows per table")
	seed.Flags().IntVar(&messages, "messages", 400, "messages per topic")

	var options traffic.Options
	var length time.Duration
	var region string
	load := &cobra.Command{
		Use: "traffic", Short: "Write and read until told to stop or until the region dies", Args: none,
		Long: "Writes to a region's tables and topics and consumes its topics, until Ctrl-C, for\na time, or until the region is dead. What was acknowledged is in DIR/oracle.",
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			ctx := c.Context()
			if length > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, length)
				defer cancel()
			}
			now := make(chan os.Signal, 1)
			signal.Notify(now, syscall.SIGUSR1) // what is odd about the topics happens now
			defer signal.Stop(now)
			options.Now = now
			s, err := l.Traffic(ctx, region, options)
			if err != nil {
				return err
			}
			return print(s, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %d rows in %d commits, %d messages, %d consumed, %d refused\n",
					s.Region, s.Rows, s.Commits, s.Messages, s.Consumed, s.Refused)
				for _, d := range s.Dead {
					fmt.Fprintf(w, "dead: %s\n", d)
				}
				for _, e := range s.Errors {
					fmt.Fprintf(w, "failed: %s\n", e)
				}
			})
		},
	}
	load.Flags().DurationVar(&length, "for", 0, "stop after this long; 0 for never")
	load.Flags().StringVar(&region, "region", lab.Primary, "region to write to")
	load.Flags().Float64Var(&options.Commits, "commits", 0, "commits per second and table (default 3)")
	load.Flags().Float64Var(&options.Messages, "messages", 0, "messages per second and topic (default 40)")
	load.Flags().IntVar(&options.LargeEvery, "large-every", 0, "one commit in so many has a large data file, -1 for none (default 4)")
	load.Flags().IntVar(&options.LargeBytes, "large-bytes", 0, "size of a large data file in bytes (default 640 KB)")

	kill := &cobra.Command{
		Use: "kill REGION", Short: "Kill a region: SIGKILL for all its servers at once", Args: one("kill"),
		Long: "Kills a region. Instead of a region it takes the name of one server, as status\nlists them: kill temporal.",
		RunE: func(c *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			if err := l.Kill(c.Context(), args[0]); err != nil {
				return err
			}
			return print(map[string]string{"killed": args[0]}, nil)
		},
	}
	var resync bool
	heal := &cobra.Command{
		Use: "heal [REGION]", Short: "Start again what does not run, on the same ports and data", Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("heal takes at most one region, found %d arguments; %w", len(args), errUsage)
			}
			return nil
		},
		Long: "Starts a region's servers, or all, again. What the primary owed the standby when\nit was killed stays owed, unless --resync is given.",
		RunE: func(c *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			what := ""
			if len(args) == 1 {
				what = args[0]
			}
			if err := l.Heal(c.Context(), what); err != nil {
				return err
			}
			if resync {
				if err := l.Resync(c.Context()); err != nil {
					return err
				}
				if err := l.WaitReplicated(c.Context(), 2*time.Minute); err != nil {
					return err
				}
			}
			return status(l)
		},
	}
	heal.Flags().BoolVar(&resync, "resync", false, "make the primary deliver the objects that it still owes the standby, and wait for that")
	down := &cobra.Command{
		Use: "down", Short: "Stop everything; data stays", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			if err := l.Down(c.Context()); err != nil {
				return err
			}
			return print(map[string]string{"down": l.Dir}, nil)
		},
	}
	show := &cobra.Command{
		Use: "status", Short: "Show the servers, their addresses and their memory", Args: none,
		RunE: func(*cobra.Command, []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			return status(l)
		},
	}
	loss := &cobra.Command{
		Use: "loss", Short: "Hold the standby's tables against what the primary acknowledged", Args: none,
		Long: "Reads the standby's logs and the oracle's journal, and shows what a failover at\nthis moment would lose. Recovery itself never reads the journal.",
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := lab.Load(dir)
			if err != nil {
				return err
			}
			all, err := l.Loss(c.Context())
			if err != nil {
				return err
			}
			return print(all, func(w io.Writer) {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "TABLE\tACKNOWLEDGED\tARRIVED\tLOST ROWS\tLOST COMMITS\tENTRIES WITHOUT DATA\tMISSING ENTRIES")
				for _, o := range all {
					fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%v\t%v\n", o.Table, o.Head, o.Arrived, o.Rows, o.Commits, o.Dangling, o.Gaps)
				}
				t.Flush() //nolint:errcheck // the terminal is gone if this fails
			})
		},
	}
	root.AddCommand(up, seed, load, kill, heal, down, show, loss)
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown command %q; %w", args[0], errUsage)
		}
		return c.Help()
	}
	return root
}

func table(w io.Writer, s lab.Status) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVER\tPLACE\tADDRESS\tPID\tMEMORY")
	for _, v := range s.Servers {
		pid := "dead"
		if v.Running {
			pid = fmt.Sprint(v.Pid)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d MB\n", v.Name, v.Place, v.Address, pid, v.RSS>>20)
	}
	fmt.Fprintf(t, "all\t\t\t\t%d MB\n", s.RSS>>20)
	t.Flush() //nolint:errcheck // the terminal is gone if this fails
	fmt.Fprintf(w, "estate     %s\nTemporal   %s   UI %s\n", s.Estate, s.Temporal, s.UI)
}
