package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/estate/load"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/mistake"
	"breakwater/internal/plural"
	"breakwater/internal/shell"
	"breakwater/internal/sshsig"
)

// estateNames lists the estates in the folder.
func (a *app) estateNames() []string {
	var names []string
	for _, ext := range []string{"*.yaml", "*.yml"} {
		found, err := filepath.Glob(filepath.Join(a.cfg.Estates, ext))
		if err != nil { // the folder's name is a broken pattern: it has no estates
			return nil
		}
		for _, f := range found {
			names = append(names, strings.TrimSuffix(filepath.Base(f), filepath.Ext(f)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// needEstates says how to name the folder of estates to a command that must read
// one.
func (a *app) needEstates(doing string) error {
	if a.cfg.Estates != "" {
		return nil
	}
	return wrong(errUsage, "export BREAKWATER_ESTATES=DIR", "%s: the estates must be at hand: name their folder with --estates DIR", doing)
}

// estate loads an estate by name.
func (a *app) estate(ctx context.Context, doing, name string) (*estate.Estate, error) {
	if err := a.needEstates(doing); err != nil {
		return nil, err
	}
	e, err := a.systems.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrong(errUsage, shell.Command("ls", a.cfg.Estates), "%s: there is no estate %q in %s%s", doing, name, a.cfg.Estates, mistake.DidYouMean(name, a.estateNames()))
	}
	if err != nil {
		return nil, hint(fmt.Errorf("%s: %w", doing, err), cmd("estate", "check", name))
	}
	return e, nil
}

// evidenceFlags say where evidence is.
type evidenceFlags struct{ dir, estate, signers string }

// evidence is a run's ledger and the keys that its heads must be signed with.
type evidence struct {
	run     ledger.Run
	reader  ledger.Reader
	trusted []sshsig.Key
	from    string // for people
	close   func()
}

// find looks for the evidence of runs: in an exported folder, or in the ledgers
// of the estates at hand. An empty name takes all runs of a folder.
func (a *app) find(ctx context.Context, n name, f evidenceFlags) ([]evidence, error) {
	trusted, err := readSigners(f.signers)
	if err != nil {
		return nil, err
	}
	if f.dir == "" {
		e, err := a.findInEstates(ctx, n, f.estate, trusted)
		return []evidence{e}, err
	}
	folder, err := store.OpenFolder(f.dir)
	if err != nil {
		return nil, wrong(errUsage, "", "open the exported evidence: %w", err)
	}
	done := func() { folder.Close() } //nolint:errcheck // it was only read
	if trusted == nil {
		if f.estate == "" {
			done()
			return nil, wrong(errUsage, cmd("verify-evidence", "--dir", f.dir)+" --signers FILE",
				"whom to trust? Evidence cannot vouch for itself: give the workers' public keys with --signers, or the estate that lists them with --estate")
		}
		e, err := a.estate(ctx, "find the ledger's signers", f.estate)
		if err == nil {
			trusted, err = e.Ledger.Trusted(time.Now())
		}
		if err != nil {
			done()
			return nil, err
		}
	}
	runs, err := runsOf(ctx, folder, n)
	if err == nil && len(runs) == 0 {
		err = wrong(errUsage, shell.Command("ls", filepath.Join(f.dir, ledger.RunsPrefix)), "%s holds no evidence of %s", f.dir, orAny(n))
	}
	if err != nil {
		done()
		return nil, err
	}
	var all []evidence
	for _, r := range runs {
		all = append(all, evidence{run: r, reader: folder, trusted: trusted, from: f.dir, close: done})
	}
	return all, nil
}

func orAny(n name) string {
	if n.workflow == "" {
		return "any run"
	}
	return "run " + n.workflow
}

// findInEstates looks for a run in the ledger of the named estate, or of each.
func (a *app) findInEstates(ctx context.Context, n name, only string, trusted []sshsig.Key) (evidence, error) {
	doing := "find the evidence of run " + n.workflow
	if err := a.needEstates(doing); err != nil {
		return evidence{}, err
	}
	names := []string{only}
	if only == "" {
		names = a.estateNames()
	}
	var errs []error
	for _, en := range names {
		e, err := a.estate(ctx, doing, en)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s, err := a.systems.Ledger(ctx, e)
		var runs []ledger.Run
		if err == nil {
			runs, err = runsOf(ctx, s, n)
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s in the ledger of estate %s: %w", doing, en, err))
			continue
		case len(runs) == 0:
			continue
		case len(runs) > 1:
			return evidence{}, wrong(errUsage, cmd("verify-evidence", runs[len(runs)-1].String()), "%s had the id %s; name one as workflow/first-run", plural.Of(len(runs), "run"), n)
		}
		keys := trusted
		if keys == nil {
			if keys, err = e.Ledger.Trusted(time.Now()); err != nil {
				return evidence{}, fmt.Errorf("the signers of estate %s: %w", en, err)
			}
		}
		return evidence{run: runs[0], reader: s, trusted: keys, from: "the ledger of estate " + en, close: func() {}}, nil
	}
	if err := errors.Join(errs...); err != nil {
		return evidence{}, err
	}
	return evidence{}, wrong(errUsage, "breakwater runs", "%s: the ledgers of %s hold nothing of it", doing, orNone(names))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "no estate"
	}
	return strings.Join(names, ", ")
}

// runsOf names the runs of a workflow id, or all, that a ledger holds.
func runsOf(ctx context.Context, from ledger.Reader, n name) ([]ledger.Run, error) {
	if n.workflow == "" {
		return store.Runs(ctx, from)
	}
	prefix := ledger.RunsPrefix + ledger.Escape(n.workflow) + "/"
	if n.first != "" {
		prefix = ledger.Run{Workflow: n.workflow, FirstRun: n.first}.Prefix() + "chain/"
	}
	var runs []ledger.Run
	for key, err := range from.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		run, _, err := ledger.ParseKey(key)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(runs, run) {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// readSigners reads a file of public keys: an authorized_keys file, or the
// allowed_signers file of ssh-keygen, whose lines begin with names. An empty
// path is no file.
func readSigners(path string) ([]sshsig.Key, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, wrong(errUsage, "", "read the signers: %w", err)
	}
	keys := []sshsig.Key{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := sshsig.ParseSigner(line)
		for rest := line; err != nil; { // names, and options without a meaning here, stand before the key
			_, after, more := strings.Cut(rest, " ")
			if !more {
				return nil, wrong(errUsage, "", "read the signers: %s:%d: %w", path, n, err)
			}
			rest = strings.TrimSpace(after)
			if again, inner := sshsig.ParseSigner(rest); inner == nil {
				s, err = again, nil
			}
		}
		if s.Valid(time.Now()) {
			keys = append(keys, s.Key)
		}
	}
	if len(keys) == 0 {
		return nil, wrong(errUsage, "", "read the signers: %s holds no key that counts now", path)
	}
	return keys, lines.Err()
}

// estateFile finds the estate that a person means by a name or a path.
func (a *app) estateFile(ctx context.Context, given string) (*estate.Estate, []mistake.Mistake, error) {
	looksLikePath := strings.ContainsRune(given, filepath.Separator) || strings.HasSuffix(given, ".yaml") || strings.HasSuffix(given, ".yml")
	if looksLikePath {
		if _, err := os.Stat(given); err != nil {
			return nil, nil, wrong(errUsage, "", "read estate %s: %w", given, err)
		}
		e, ms := load.File(given)
		return e, ms, nil
	}
	if err := a.needEstates("read estate " + given); err != nil {
		return nil, nil, err
	}
	for _, ext := range []string{".yaml", ".yml"} {
		path := filepath.Join(a.cfg.Estates, given+ext)
		if _, err := os.Stat(path); err == nil {
			e, ms := load.File(path)
			return e, ms, nil
		}
	}
	_, err := a.estate(ctx, "read estate "+given, given)
	return nil, nil, err
}
