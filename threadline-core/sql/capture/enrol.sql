DO @block@;
