package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"breakwater/internal/clip"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/plural"
	"breakwater/internal/report"

	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var f evidenceFlags
	var export string
	c := &cobra.Command{
		Use:   "verify-evidence [RUN] [--dir DIR]",
		Short: "Verify a run's ledger against its signed heads, offline",
		Long: `Walks the ledger of a run from its first entry and holds every hash, every
document and every signed head against what is there. It names the first thing
that is wrong. Neither Temporal nor a worker is asked. Where people took the
estate over for the run, their signatures are held against their keys as well.

The ledger is that of the estate that has the run, or a folder that it was
exported to. RUN is a workflow id, or workflow/first-run. A folder may be
verified with all its runs at once.`,
		Example: `  breakwater verify-evidence RegionalFailover-lab-20261121-031205
  breakwater verify-evidence RegionalFailover-lab-20261121-031205 --export evidence
  breakwater verify-evidence --dir evidence --signers workers.pub`,
		Args: between(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			n := name{}
			if len(args) == 1 {
				n = parseName(args[0])
			}
			if len(args) == 0 && f.dir == "" {
				return wrong(errUsage, "breakwater verify-evidence --help", "whose evidence? Name a run, or a folder with --dir")
			}
			return a.verify(c.Context(), n, f, export)
		},
	}
	c.Flags().StringVar(&f.dir, "dir", "", "a folder that evidence was exported to")
	c.Flags().StringVar(&f.estate, "estate", "", "the estate whose ledger has the run (default: each that is at hand)")
	c.Flags().StringVar(&f.signers, "signers", "", "file with the workers' public keys (default: those of the estate)")
	c.Flags().StringVar(&export, "export", "", "copy the evidence into this folder first, and verify the copy")
	return c
}

func (a *app) verify(ctx context.Context, n name, f evidenceFlags, export string) error {
	all, err := a.find(ctx, n, f)
	if err != nil {
		return err
	}
	defer all[0].close()
	if export != "" {
		if all, err = a.export(ctx, all, export); err != nil {
			return err
		}
	}
	var bad error
	for _, e := range all {
		res, err := ledger.Verify(ctx, e.reader, e.run, e.trusted)
		if err != nil {
			return fmt.Errorf("verify the evidence in %s: %w", e.from, err)
		}
		how, err := sayEnd(ctx, e, res)
		if err != nil {
			return err
		}
		var taken *report.TakenOver
		if res.Fault == nil {
			if taken, err = report.ReadTakenOver(ctx, e.reader, e.run); err != nil {
				return fmt.Errorf("verify the evidence in %s: %w", e.from, err)
			}
		}
		proven := taken == nil || taken.Proven()
		if a.json {
			a.line("evidence", struct {
				ledger.Result
				Summary   string            `json:"summary,omitempty"` // of the run, in the words of its last entry
				TakenOver *report.TakenOver `json:"taken_over,omitempty"`
				Verified  bool              `json:"verified"`
			}{res, how, taken, res.Fault == nil && proven})
		}
		if res.Fault != nil {
			a.say("%s\n  NOT AS IT WAS SIGNED: %s", e.run, res.Fault)
			a.say("  %s before it are in order", plural.Of(max(0, res.Fault.Seq-1), "entry"))
			bad = wrong(errFailed, "", "the evidence of run %s in %s is not as it was signed, from entry %d on", e.run.Workflow, e.from, res.Fault.Seq)
			continue
		}
		end := "and the run has ended"
		if !res.Ended {
			end = "and the run has not ended"
		}
		a.say("%s\n  as it was signed: %s, %s, %s", e.run, countOf(res.Entries, "entry", "entries"), countOf(res.Docs, "document", "documents"), end)
		if how != "" {
			for _, l := range wrap("  it says: "+how, 80, "    ") {
				a.say("%s", l)
			}
		}
		if taken != nil {
			for _, l := range wrap("  taken over "+clip.Clean(taken.Sentence()), 80, "    ") {
				a.say("%s", l)
			}
		}
		if !proven {
			bad = wrong(errFailed, "", "run %s in %s took its estate over, and that is not proven: %s", e.run.Workflow, e.from, clip.Clean(taken.Proof))
		}
		a.say("  head %s", res.Head)
		for _, s := range res.Signers {
			a.say("  signed by %s", s)
		}
	}
	return bad
}

// sayEnd is how a run ended, as the last entry of its verified ledger has it: how many steps
// are proven, and how many had nothing to do. It is empty where there is no such entry.
func sayEnd(ctx context.Context, e evidence, res ledger.Result) (string, error) {
	if res.Fault != nil || !res.Ended {
		return "", nil
	}
	raw, err := e.reader.Get(ctx, ledger.ChainKey(e.run, res.Entries))
	var entry ledger.Entry
	if err == nil {
		entry, err = ledger.ParseEntry(raw)
	}
	var end struct { // of the body of run-ended, whatever release wrote it
		Summary string `json:"summary"`
	}
	if err == nil {
		err = json.Unmarshal(entry.Body, &end)
	}
	if err != nil {
		return "", fmt.Errorf("read the last entry of run %s in %s: %w", e.run.Workflow, e.from, err)
	}
	return end.Summary, nil
}

// countOf is a number of things in words.
func countOf(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// export copies evidence into a folder and returns the copy as evidence.
func (a *app) export(ctx context.Context, all []evidence, dir string) ([]evidence, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, wrong(errUsage, "", "export the evidence: %w", err)
	}
	to, err := store.OpenFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("export the evidence: %w", err)
	}
	out := slices.Clone(all)
	for i, e := range all {
		n, err := store.Export(ctx, e.reader, to, e.run)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("export the evidence of %s to %s: %w", e.run, dir, err), to.Close())
		}
		fmt.Fprintf(a.err, "Copied %s of run %s to %s.\n", plural.Of(n, "object"), e.run.Workflow, dir)
		out[i].reader, out[i].from = to, dir
	}
	return out, nil
}
