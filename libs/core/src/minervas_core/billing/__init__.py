"""Bills and statements: functions of final blocks (spec/bills.md)."""
