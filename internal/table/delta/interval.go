package delta

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The properties that say how long a table keeps what its newest version no
// longer needs, as intervals.
const (
	FileRetention = "delta.deletedFileRetentionDuration" // of removed files: VACUUM leaves them alone so long
	LogRetention  = "delta.logRetentionDuration"         // of log entries
)

// absent is what the protocol's engines go by where a table has no such property.
var absent = map[string]string{FileRetention: "interval 1 week", LogRetention: "interval 30 days"}

// Retention is how long a table with these properties keeps what [FileRetention]
// or [LogRetention] is about, and the interval as it is written. Without the
// property, the engines' default holds.
func Retention(properties map[string]string, property string) (keeps time.Duration, written string, err error) {
	written, ok := properties[property]
	if !ok {
		written = absent[property]
	}
	if keeps, err = Interval(written); err != nil {
		return 0, written, fmt.Errorf("%s: %w", property, err)
	}
	return keeps, written, nil
}

// micros are the units of an interval, in microseconds. Engines refuse months and
// years in a property, whose length varies.
var micros = map[string]int64{
	"week": 7 * 24 * 3600e6, "day": 24 * 3600e6, "hour": 3600e6, "minute": 60e6, "second": 1e6, "millisecond": 1e3, "microsecond": 1,
}

// count is one number with its unit at the beginning of an interval.
var count = regexp.MustCompile(`^([+-]?) ?(\d*)(\.\d{0,9})? ([a-z]+)(?: |$)`)

// Interval reads a property that holds an interval, such as "interval 1 week 2
// days", as Spark does: in capitals or not, with or without the word, of several
// parts whose sum is not negative, seconds with a fraction. Beyond that it takes
// quotes around numbers and units, as SQL writes them. What is longer than a
// Duration, 292 years, is as long as one.
func Interval(text string) (time.Duration, error) {
	words := strings.Fields(strings.ToLower(text))
	for i, w := range words {
		words[i] = strings.Trim(w, `'"`)
	}
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	if len(words) == 0 {
		return 0, fmt.Errorf("%q is no interval", text)
	}
	unclear := fmt.Errorf("%q is no interval that is understood here", text)
	var sum int64 // microseconds
	for rest := strings.Join(words, " "); rest != ""; {
		m := count.FindStringSubmatch(rest)
		if m == nil {
			return 0, unclear
		}
		n, ok := part(m[2], m[3], strings.TrimSuffix(m[4], "s"))
		if m[1] == "-" {
			n = -n
		}
		if !ok || n > 0 && sum > math.MaxInt64-n || n < 0 && sum < math.MinInt64-n {
			return 0, unclear
		}
		sum, rest = sum+n, rest[len(m[0]):]
	}
	switch {
	case sum < 0:
		return 0, unclear
	case sum > math.MaxInt64/int64(time.Microsecond):
		return math.MaxInt64, nil
	}
	return time.Duration(sum) * time.Microsecond, nil
}

// part is a number of a unit in microseconds. Only seconds have a fraction, which
// begins with its point.
func part(whole, fraction, unit string) (int64, bool) {
	size, ok := micros[unit]
	if !ok || whole == "" && len(fraction) < 2 || fraction != "" && unit != "second" {
		return 0, false
	}
	n, err := strconv.ParseInt("0"+whole, 10, 64)
	if err != nil || n > math.MaxInt64/size-1 {
		return 0, false
	}
	f, err := strconv.ParseInt((strings.TrimPrefix(fraction, ".") + "000000")[:6], 10, 64)
	return n*size + f, err == nil
}
