package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"breakwater/internal/plural"
	"breakwater/internal/report"

	"github.com/spf13/cobra"
)

// formats are the forms of a report, in the order in which files are written.
var formats = []string{"html", "json", "md", "text"}

func (a *app) reportCommand() *cobra.Command {
	var f evidenceFlags
	var out, format string
	c := &cobra.Command{
		Use:   "report RUN [--out DIR]",
		Short: "Report what a run did, from its ledger",
		Long: `Makes the report of a run from its ledger and nothing else: Temporal may be
gone. RUN is a workflow id, or workflow/first-run. Without --out it prints the
report; with it, it writes report.html, report.json and report.md.

The exit code is that of the run's verdict.`,
		Example: `  breakwater report RegionalFailover-lab-20261121-031205
  breakwater report RegionalFailover-lab-20261121-031205 --out out/report
  breakwater report RegionalFailover-lab-20261121-031205 \
      --dir evidence --signers workers.pub --format md`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.report(c.Context(), parseName(args[0]), f, out, format)
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder to write report.html, report.json and report.md to")
	c.Flags().StringVar(&format, "format", "", "text, md, json or html (default text; with --out: all but text)")
	c.Flags().StringVar(&f.dir, "dir", "", "a folder that evidence was exported to")
	c.Flags().StringVar(&f.estate, "estate", "", "the estate whose ledger has the run (default: each that is at hand)")
	c.Flags().StringVar(&f.signers, "signers", "", "file with the workers' public keys (default: those of the estate)")
	return c
}

func (a *app) report(ctx context.Context, n name, f evidenceFlags, out, format string) error {
	if format != "" && !slices.Contains(formats, format) {
		return wrong(errUsage, "breakwater report --help", "there is no format %q: there are %s", format, strings.Join(formats, ", "))
	}
	all, err := a.find(ctx, n, f)
	if err != nil {
		return err
	}
	defer all[0].close()
	if len(all) > 1 {
		return wrong(errUsage, cmd("report", all[len(all)-1].run.String()), "%s had the id %s; name one as workflow/first-run", plural.Of(len(all), "run"), n)
	}
	r, err := report.Build(ctx, all[0].reader, all[0].run, all[0].trusted)
	if err != nil {
		return fmt.Errorf("report run %s from %s: %w", n, all[0].from, err)
	}
	if out != "" {
		err = a.writeReport(r, out, format)
	} else {
		err = a.printReport(r, format)
	}
	if err != nil {
		return err
	}
	switch {
	case !r.Ledger.Verified:
		return wrong(errFailed, cmd("verify-evidence", n.workflow), "the evidence of run %s is not as it was signed: %s", n, r.Summary)
	case r.Ended == nil: // a run that goes on has not failed
		return nil
	}
	return ended(n.workflow, r.Verdict, r.How, r.Why)
}

// printReport prints the report in one form. With --json it is one typed line.
func (a *app) printReport(r report.Report, format string) error {
	if a.json {
		a.line("report", r)
		return nil
	}
	if format == "" {
		format = "text"
	}
	var b bytes.Buffer
	if err := render(r, format, &b); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err := a.out.Write(b.Bytes())
	return err
}

func (a *app) writeReport(r report.Report, dir, format string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return wrong(errUsage, "", "write the report: %w", err)
	}
	for _, form := range formats {
		if format == "" && form == "text" || format != "" && form != format {
			continue
		}
		path := filepath.Join(dir, "report."+strings.Replace(form, "text", "txt", 1))
		file, err := os.Create(path)
		if err == nil {
			err = errors.Join(render(r, form, file), file.Close())
		}
		if err != nil {
			return fmt.Errorf("write the report to %s: %w", path, err)
		}
		if a.json {
			a.line("wrote", struct {
				Path string `json:"path"`
			}{path})
			continue
		}
		a.say("%s", path)
	}
	return nil
}

func render(r report.Report, format string, w io.Writer) error {
	switch format {
	case "html":
		return r.HTML(w)
	case "json":
		return r.JSON(w)
	case "md":
		return r.Markdown(w)
	default:
		return r.Text(w, 80)
	}
}
