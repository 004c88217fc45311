-- Everything that a membership transaction can do.

ALTER TABLE membership_transactions
    DROP CONSTRAINT membership_transactions_action_check,
    ADD CONSTRAINT membership_transactions_action_check CHECK (action IN
        ('admit', 'revoke', 'register_meter', 'suspend', 'resume', 'leave', 'rotate', 'recover'));
