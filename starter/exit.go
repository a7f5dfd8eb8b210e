package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/config"
	"breakwater/internal/ledger/store"
	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
	"breakwater/internal/shell"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// The exit codes. They are part of the command's interface.
const (
	exitProven      = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnknown     = 3
	exitRefused     = 4
	exitUndoFailed  = 5
	exitInterrupted = 130
)

// exitCodes is what the help says about them.
const exitCodes = `Exit codes: 0 proven, or nothing to do, or done as asked; 1 failed; 2 usage:
something was typed wrong; 3 unknown: it could not be looked at; 4 refused: a
rule forbids it, or a person did; 5 an undo failed; 130 interrupted.`

// The kinds of error, each with its exit code.
var (
	errUsage       = errors.New("wrong usage")
	errFailed      = errors.New("failed")
	errUnknown     = errors.New("unknown")
	errRefused     = errors.New("refused")
	errUndoFailed  = errors.New("an undo failed")
	errInterrupted = errors.New("interrupted")
)

// exitCode is the one place where an error becomes an exit code. What no answer
// came to is unknown, and so is what would lie in a bucket that is not there: its name may
// be mistyped, or the endpoint another store's. What is not classified has failed.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitProven
	case errors.Is(err, errUndoFailed): // outranks whatever else went wrong
		return exitUndoFailed
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errUsage), errors.Is(err, config.ErrBad):
		return exitUsage
	case errors.Is(err, errRefused), errors.Is(err, action.ErrRefused), errors.Is(err, store.ErrHeld), errors.Is(err, store.ErrEarly):
		return exitRefused
	case errors.Is(err, fs.ErrPermission) && !errors.Is(err, reach.ErrUnseen): // who is not let in at all has looked at nothing
		return exitRefused
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.Is(err, errUnknown), errors.Is(err, reach.ErrUnseen), errors.Is(err, objectstore.ErrNoBucket), reach.Unreachable(err):
		return exitUnknown
	default:
		return exitFailed
	}
}

// fault is an error of a kind, with the command to go on with.
type fault struct {
	kind error
	text string
	next string // a command to paste, or empty
	err  error
}

func (f *fault) Error() string {
	if f.next == "" {
		return f.text
	}
	return f.text + "\n  " + f.next
}

func (f *fault) Unwrap() []error {
	if f.err == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.err}
}

// wrong makes an error of a kind. next is a command to paste. An error among the
// arguments stays in the chain.
func wrong(kind error, next, format string, args ...any) error {
	wrapped := fmt.Errorf(format, args...)
	return &fault{kind: kind, text: wrapped.Error(), next: next, err: errors.Unwrap(wrapped)}
}

// cmd is a command of this program to paste into a shell.
func cmd(words ...string) string {
	return shell.Command(append([]string{"breakwater"}, words...)...)
}

// hint adds a command to paste to an error that keeps its kind.
func hint(err error, next string) error {
	var f *fault
	if err == nil || errors.As(err, &f) && f.next != "" {
		return err
	}
	return &fault{kind: err, text: err.Error(), next: next}
}

// ended makes an error of how a run ended; nil if it ended proven, or had nothing to do.
func ended(run string, v verdict.Verdict, how, why string) error {
	if v.Clear() {
		return nil
	}
	kind, word := errFailed, "without a pass"
	switch {
	case how == wire.ErrTypeUndoFailed:
		kind = errUndoFailed
	case how == wire.ErrTypeBadInput:
		kind = errUsage
	case how == wire.ErrTypeRejected, how == wire.ErrTypeRefused, how == wire.ErrTypeHeld, how == wire.ErrTypeFenced:
		kind = errRefused
	case v == verdict.Unknown:
		kind, word = errUnknown, "unknown: nothing was seen to be wrong, and not all could be looked at"
	}
	why = strings.TrimPrefix(why, how+": ")
	if why == "" {
		why = "no reason is known"
	}
	return wrong(kind, "", "run %s ended %s (%s): %s", run, word, how, why)
}
